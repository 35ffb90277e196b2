# Required.

variable "project_id" {
  description = "Project that everything is made in. It must exist and have billing."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is not a Google Cloud project id: write the id (not the name, not the number) as the console shows it, like my-project-123."
  }
}

variable "region" {
  description = "Where both functions run. Not asia-south1 or asia-south2: TikTok refuses calls from India."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is not a Cloud Run region: write something like europe-west1 or us-central1."
  }
  validation {
    condition     = !contains(["asia-south1", "asia-south2"], var.region)
    error_message = "region is in India, and TikTok refuses every call from there (\"banned Country list\"): choose another one, like asia-southeast1."
  }
}

variable "tiktok_app_id" {
  description = "App ID that the app's page in TikTok's portal shows. The app's secret is no variable: `make deploy` asks for it and puts it into Secret Manager."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.tiktok_app_id))
    error_message = "tiktok_app_id is not an app id: write the App ID that the app's page in TikTok's portal shows, like 7000000000000000000, in quotation marks."
  }
}

variable "tiktok_account_scopes" {
  description = "Permissions that TikTok account holders are asked for (family `account`). Default: those of `TIKTOK_ACCOUNT_SCOPES`: profile, statistics, list of videos."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for scope in var.tiktok_account_scopes : can(regex("^[a-z0-9_.]{1,100}$", scope))])
    error_message = "tiktok_account_scopes must be TikTok's names of scopes, like [\"user.info.basic\", \"video.list\"]."
  }
  validation {
    condition     = length(var.tiktok_account_scopes) == 0 || contains(var.tiktok_account_scopes, "user.info.basic")
    error_message = "tiktok_account_scopes must contain user.info.basic: without it, TikTok's answer names no account."
  }
}

# Names and addresses.

variable "name" {
  description = "First part of the name of everything but the secrets: functions, accounts, job, bucket, metrics."
  type        = string
  default     = "tiktok-ads"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "name must be 2 to 20 of a-z, 0-9 and -, with a letter first and no - at the end, like tiktok-ads."
  }
}

variable "secret_prefix" {
  description = "First part of every secret's name. Pipelines read SECRET_PREFIX-token-CONNECTION."
  type        = string
  default     = "tiktok-ads"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,100}$", var.secret_prefix))
    error_message = "secret_prefix must be 1 to 100 letters, digits, - and _, like tiktok-ads."
  }
  validation {
    condition     = !can(regex("-(token|refresh)(-|$)", var.secret_prefix))
    error_message = "secret_prefix must not contain -token or -refresh: permissions go by the beginning of a secret's name, and those of another installation would then cover this one."
  }
}

variable "public_url" {
  description = "Address of `connect`, exactly as it is registered with TikTok. Default: the function's own, https://REGION-PROJECT.cloudfunctions.net/NAME-connect. Set it where a load balancer or a domain of your own stands in front."
  type        = string
  default     = null

  validation {
    condition     = var.public_url == null || can(regex("^https://[^/?#@[:space:]]+[^?#[:space:]]*$", var.public_url))
    error_message = "public_url must be an address that begins with https:// and has no query, like https://tiktok.example.com."
  }
  validation {
    condition     = var.public_url == null || !endswith(coalesce(var.public_url, "-"), "/")
    error_message = "public_url must not end with a slash: TikTok compares it letter by letter with what is registered."
  }
  validation {
    condition     = length(coalesce(var.public_url, "-")) <= 100
    error_message = "public_url is longer than 100 characters, which is what the field in TikTok's portal takes: use a shorter address."
  }
}

variable "public_access" {
  description = "How `connect` is opened to the internet: `all_users`, or `no_invoker_check` where the organization allows only members of its own domains (`iam.allowedPolicyMemberDomains`): `make deploy` then switches Cloud Run's check of callers off for this one service."
  type        = string
  default     = "all_users"
  nullable    = false

  validation {
    condition     = contains(["all_users", "no_invoker_check"], var.public_access)
    error_message = "public_access must be all_users or no_invoker_check."
  }
}

variable "connect_ingress" {
  description = "From where `connect` can be reached: `ALLOW_ALL`, or `ALLOW_INTERNAL_AND_GCLB` where the organization allows nothing else: only a load balancer of yours, whose address is `public_url`, reaches it then. `refresh` follows: Cloud Scheduler counts as internal, `make refresh` from elsewhere does not."
  type        = string
  default     = "ALLOW_ALL"
  nullable    = false

  validation {
    condition     = contains(["ALLOW_ALL", "ALLOW_INTERNAL_AND_GCLB"], var.connect_ingress)
    error_message = "connect_ingress must be ALLOW_ALL or ALLOW_INTERNAL_AND_GCLB."
  }
}

variable "role_suffix" {
  description = "Added to the ids of the custom roles. Google keeps the id of a deleted role for 37 days: set this, like `_2`, where roles of an earlier deployment stand in the way."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9_]{0,20}$", var.role_suffix))
    error_message = "role_suffix must be up to 20 of a-z, 0-9 and _, like _2."
  }
}

variable "labels" {
  description = "Labels for everything that Terraform makes."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))])
    error_message = "labels must have keys and values of a-z, 0-9, - and _, at most 63 characters, keys with a letter first, like {team = \"marketing-data\"}."
  }
  validation {
    condition     = !contains(keys(var.labels), "managed-by")
    error_message = "labels must not set managed-by: the token keeper finds its own things by that label."
  }
}

# The run that keeps the tokens working.

variable "schedule" {
  description = "When `refresh` runs, as cron. Every six hours by default: an expiring token lives 24 hours and is refreshed past half of that, so a run may fail, and the next one with it but for a second, before a reader notices. At least twice a day, so that a run that did not happen is noticed."
  type        = string
  default     = "17 */6 * * *"
  nullable    = false

  validation {
    condition     = length(split(" ", trimspace(var.schedule))) == 5
    error_message = "schedule must be cron with five fields, like \"17 */6 * * *\" (minute 17 of every sixth hour)."
  }
}

variable "time_zone" {
  description = "Time zone of the schedule, by its tz database name."
  type        = string
  default     = "Etc/UTC"
  nullable    = false

  validation {
    condition     = can(regex("^(UTC|[A-Z][A-Za-z_]+(/[A-Za-z0-9_+-]+)+)$", var.time_zone))
    error_message = "time_zone must be a name of the tz database, like Etc/UTC or Europe/Berlin."
  }
}

variable "run_budget_seconds" {
  description = "No new connection is started after this much of a run. The function's timeout and the Scheduler's deadline follow from it."
  type        = number
  default     = 1500
  nullable    = false

  validation {
    condition     = var.run_budget_seconds >= 60 && var.run_budget_seconds <= 1500 && floor(var.run_budget_seconds) == var.run_budget_seconds
    error_message = "run_budget_seconds must be a whole number from 60 to 1500: storing may take 120 s more, the function's timeout comes after that, and the Scheduler waits 1800 s at most."
  }
}

variable "tiktok_max_qps" {
  description = "Most calls a second to TikTok. A Basic app may make 10, and pipelines share them."
  type        = number
  default     = 8
  nullable    = false

  validation {
    condition     = var.tiktok_max_qps >= 0.01 && var.tiktok_max_qps <= 50
    error_message = "tiktok_max_qps must be a number from 0.01 to 50; TikTok allows a Basic app 10, Advanced 20, Premium 30, Ultimate 50."
  }
}

variable "keep_versions" {
  description = "Versions of a secret left undestroyed, newest first. Each further one costs $0.06 a month and location."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.keep_versions >= 2 && var.keep_versions <= 10000 && floor(var.keep_versions) == var.keep_versions
    error_message = "keep_versions must be a whole number of at least 2: readers may still hold the version before the newest."
  }
}

# The functions.

variable "connect_memory" {
  description = "Memory of `connect`."
  type        = string
  default     = "512Mi"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]+Mi|[0-9]+(\\.[0-9]+)?Gi)$", var.connect_memory))
    error_message = "connect_memory must be written like 512Mi or 1Gi."
  }
}

variable "refresh_memory" {
  description = "Memory of `refresh`. The default is enough for 10,000 connections."
  type        = string
  default     = "512Mi"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]+Mi|[0-9]+(\\.[0-9]+)?Gi)$", var.refresh_memory))
    error_message = "refresh_memory must be written like 512Mi or 1Gi."
  }
}

variable "connect_max_instances" {
  description = "Most instances of `connect`: what a flood can cost at most."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.connect_max_instances >= 1 && var.connect_max_instances <= 20 && floor(var.connect_max_instances) == var.connect_max_instances
    error_message = "connect_max_instances must be a whole number from 1 to 20; each answers 16 requests at a time."
  }
}

variable "portal_connection" {
  description = "Connection that the \"Advertiser authorization URL\" of TikTok's app page makes. Default: that address is refused, and only connect links work."
  type        = string
  default     = null

  validation {
    condition     = var.portal_connection == null || can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.portal_connection))
    error_message = "portal_connection must be 1 to 63 of a-z, 0-9 and -, with no - at either end, like main."
  }
}

variable "portal_advertiser_ids" {
  description = "The only advertisers that may be connected that way."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.portal_advertiser_ids : can(regex("^[0-9]{1,32}$", id))])
    error_message = "portal_advertiser_ids must be advertiser ids in quotation marks, like [\"7000000000000000001\"]."
  }
}

variable "portal_state" {
  description = "The state that the portal's address carries."
  type        = string
  default     = "your_custom_params"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9._~-]{1,200}$", var.portal_state))
    error_message = "portal_state must be 1 to 200 of A-Z, a-z, 0-9 and . _ ~ -, like your_custom_params."
  }
}

# The secrets and who reads them.

variable "secret_locations" {
  description = "Regions that secrets are kept in. Default: Google chooses (automatic replication, counted as one location)."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for location in var.secret_locations : can(regex("^[a-z]+-[a-z]+[0-9]+$", location))])
    error_message = "secret_locations must be regions, like [\"europe-west1\", \"europe-west4\"]."
  }
  validation {
    condition     = length(distinct(var.secret_locations)) == length(var.secret_locations)
    error_message = "secret_locations names a region twice."
  }
}

variable "kms_key" {
  description = "Cloud KMS key that encrypts every secret (CMEK): projects/P/locations/L/keyRings/R/cryptoKeys/K."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key must be the key's full name, like projects/my-project/locations/global/keyRings/my-ring/cryptoKeys/my-key."
  }
}

variable "readers" {
  description = "Who may read tokens: a principal, and its connections (left out: all, later ones included). Token secrets only, never refresh secrets, signing keys or the app secret."
  type = list(object({
    principal   = string
    connections = optional(list(string))
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for reader in var.readers : can(regex("^(serviceAccount:|user:|group:|domain:|principal://|principalSet://).+$", reader.principal))])
    error_message = "readers must name principals as IAM does, like serviceAccount:pipeline@my-project.iam.gserviceaccount.com or group:data@example.com; allUsers and allAuthenticatedUsers are refused."
  }
  validation {
    condition     = alltrue(flatten([for reader in var.readers : [for name in coalesce(reader.connections, []) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", name))]]))
    error_message = "readers names a connection that cannot be one: 1 to 63 of a-z, 0-9 and -, with no - at either end, like acme-eu."
  }
  validation {
    condition     = alltrue([for reader in var.readers : reader.connections == null || try(length(reader.connections) > 0 && length(reader.connections) <= 200, false)])
    error_message = "readers must name 1 to 200 connections for a principal (IAM takes 20 conditions of 10 names each), or leave connections out for all of them."
  }
  validation {
    condition     = length(distinct([for reader in var.readers : reader.principal])) == length(var.readers)
    error_message = "readers names a principal twice: put all its connections into one entry."
  }
}

variable "audit_logs" {
  description = "Turns on data-access audit logs for Secret Manager in the whole project: who read which secret when. Set it to false where the organization does so already."
  type        = bool
  default     = true
  nullable    = false
}

# Who hears of trouble.

variable "events_topic" {
  description = "Makes a Pub/Sub topic, and sends it every entry that the functions log with an `event` and severity NOTICE or more, so that other systems can react. No entry holds a secret."
  type        = bool
  default     = false
  nullable    = false
}

variable "events_topic_refreshes" {
  description = "Sends `token.refreshed`, which is of severity INFO, to that topic as well."
  type        = bool
  default     = false
  nullable    = false
}

variable "alert_email" {
  description = "E-mail address that alerts go to."
  type        = string
  default     = null

  validation {
    condition     = var.alert_email == null || can(regex("^[^@[:space:]]+@[^@[:space:]]+[.][^@[:space:]]+$", var.alert_email))
    error_message = "alert_email must be one e-mail address, like data-team@example.com."
  }
}

variable "notification_channels" {
  description = "Further channels for alerts (Slack, PagerDuty, SMS …), by id: projects/P/notificationChannels/N, as `gcloud beta monitoring channels list` shows them."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for channel in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[0-9]+$", channel))])
    error_message = "notification_channels must be full names, like projects/my-project/notificationChannels/1234567890."
  }
}

variable "missed_run_hours" {
  description = "Hours without a finished run after which somebody hears of it: more than two intervals of the schedule."
  type        = number
  default     = 13
  nullable    = false

  validation {
    condition     = var.missed_run_hours >= 1 && var.missed_run_hours <= 23 && floor(var.missed_run_hours) == var.missed_run_hours
    error_message = "missed_run_hours must be a whole number from 1 to 23: Cloud Monitoring looks back a day at most, which is also why the schedule should run at least twice a day."
  }
}

variable "refused_callbacks" {
  description = "Refused callbacks in ten minutes above which somebody hears of it."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.refused_callbacks >= 1 && floor(var.refused_callbacks) == var.refused_callbacks
    error_message = "refused_callbacks must be a whole number of at least 1."
  }
}
