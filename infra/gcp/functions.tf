locals {
  # Settings of both functions. LOG_EXECUTION_ID is set by Cloud Functions where it is missing: it mixes up lines that
  # are written at the same time.
  environment = {
    GOOGLE_CLOUD_PROJECT = var.project_id
    SECRET_PREFIX        = var.secret_prefix
    TIKTOK_APP_ID        = var.tiktok_app_id
    KEEP_VERSIONS        = tostring(var.keep_versions)
    LOG_EXECUTION_ID     = "false"
  }

  connect_environment = merge(
    local.environment,
    {
      PUBLIC_URL              = local.public_url
      CALLBACK_BUDGET_SECONDS = tostring(local.callback_budget)
      # Threads of the web server: as many as an instance is sent requests at a time.
      THREADS = tostring(local.connect_concurrency)
    },
    # Where and how the secrets of new connections are kept.
    length(var.secret_locations) > 0 ? { SECRET_LOCATIONS = join(",", var.secret_locations) } : {},
    var.kms_key != null ? { SECRET_KMS_KEY = var.kms_key } : {},
    length(var.tiktok_account_scopes) > 0 ? { TIKTOK_ACCOUNT_SCOPES = join(",", var.tiktok_account_scopes) } : {},
    var.portal_connection != null ? {
      PORTAL_CONNECTION     = var.portal_connection
      PORTAL_ADVERTISER_IDS = join(",", var.portal_advertiser_ids)
      PORTAL_STATE          = var.portal_state
    } : {},
  )

  refresh_environment = merge(
    local.environment,
    {
      RUN_BUDGET_SECONDS = tostring(var.run_budget_seconds)
      TIKTOK_MAX_QPS     = tostring(var.tiktok_max_qps)
    },
  )
}

resource "google_cloudfunctions2_function" "connect" {
  name        = local.connect
  location    = var.region
  description = "The page that TikTok sends approvers back to: exchanges the code and stores the token."

  build_config {
    runtime         = "python313"
    entry_point     = "connect"
    service_account = google_service_account.this["build"].name

    docker_repository = google_artifact_registry_repository.images.id

    # The provider never compares the source itself: Google tells of its own copy. It does compare this, so that an
    # update whose build failed is planned again, and anybody can look up which source runs.
    environment_variables = { SOURCE_HASH = local.source_hash }

    source {
      storage_source {
        bucket     = google_storage_bucket.source.name
        object     = google_storage_bucket_object.source.name
        generation = google_storage_bucket_object.source.generation
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.this["connect"].email
    ingress_settings                 = var.connect_ingress
    all_traffic_on_latest_revision   = true
    available_memory                 = var.connect_memory
    available_cpu                    = "1"
    max_instance_count               = var.connect_max_instances
    max_instance_request_concurrency = local.connect_concurrency
    timeout_seconds                  = local.connect_timeout
    environment_variables            = local.connect_environment

    # Sorted by name, as gcloud does, so that an order of Google's own makes no difference.
    secret_environment_variables {
      key        = "LINK_SIGNING_KEYS"
      project_id = var.project_id
      secret     = google_secret_manager_secret.this["link-signing-keys"].secret_id
      version    = "latest"
    }
    secret_environment_variables {
      key        = "TIKTOK_APP_SECRET"
      project_id = var.project_id
      secret     = google_secret_manager_secret.this["app-secret"].secret_id
      version    = "latest"
    }
  }

  lifecycle {
    precondition {
      condition     = length(local.public_url) <= 100
      error_message = "The address of connect, ${local.public_url}, is longer than 100 characters, which is what the field in TikTok's portal takes: choose a shorter name, or set public_url."
    }
    precondition {
      condition     = (var.portal_connection == null) == (length(var.portal_advertiser_ids) == 0)
      error_message = "portal_connection and portal_advertiser_ids go together: set both or neither, or anybody's account could be connected under that name."
    }
    precondition {
      condition     = var.connect_ingress == "ALLOW_ALL" || var.public_url != null
      error_message = "connect_ingress lets only a load balancer reach connect: set public_url to that load balancer's address, or TikTok would send approvers to one that does not answer."
    }
  }

  depends_on = [
    google_project_iam_member.build,
    google_project_iam_member.build_source,
    google_artifact_registry_repository_iam_member.build,
    google_project_iam_member.function,
    google_secret_manager_secret_iam_member.credential,
    google_logging_project_exclusion.addresses_with_codes,
  ]
}

resource "google_cloudfunctions2_function" "refresh" {
  name        = local.refresh
  location    = var.region
  description = "Keeps every stored token working. Called by Cloud Scheduler."

  build_config {
    runtime         = "python313"
    entry_point     = "refresh"
    service_account = google_service_account.this["build"].name

    docker_repository = google_artifact_registry_repository.images.id

    # The provider never compares the source itself: Google tells of its own copy. It does compare this, so that an
    # update whose build failed is planned again, and anybody can look up which source runs.
    environment_variables = { SOURCE_HASH = local.source_hash }

    source {
      storage_source {
        bucket     = google_storage_bucket.source.name
        object     = google_storage_bucket_object.source.name
        generation = google_storage_bucket_object.source.generation
      }
    }
  }

  service_config {
    service_account_email = google_service_account.this["refresh"].email
    # An organization that forbids ALLOW_ALL forbids it here too. Cloud Scheduler counts as internal traffic.
    ingress_settings               = var.connect_ingress
    all_traffic_on_latest_revision = true
    available_memory               = var.refresh_memory
    available_cpu                  = "1"

    # One run at a time: a second delivery of the same trigger is turned away while the first is at work.
    max_instance_count               = 1
    max_instance_request_concurrency = 1

    timeout_seconds       = local.refresh_timeout
    environment_variables = local.refresh_environment

    secret_environment_variables {
      key        = "TIKTOK_APP_SECRET"
      project_id = var.project_id
      secret     = google_secret_manager_secret.this["app-secret"].secret_id
      version    = "latest"
    }
  }

  depends_on = [
    google_project_iam_member.build,
    google_project_iam_member.build_source,
    google_artifact_registry_repository_iam_member.build,
    google_project_iam_member.function,
    google_secret_manager_secret_iam_member.credential,
    google_secret_manager_secret_iam_member.keeper,
  ]
}

# Cloud Scheduler delivers at least once. A doubled delivery does no harm: `refresh` takes one request at a time, and what
# the first has refreshed is not due for the second.
resource "google_cloud_scheduler_job" "refresh" {
  name        = local.refresh
  region      = var.region
  description = "Keeps the TikTok tokens working."

  # Every six hours by default: an expiring token lives 24 hours and is due at half of that, so a run may fail, with all
  # its retries, and the next one is still in time. It also lets a missed run be noticed, which Cloud Monitoring cannot
  # do for a job that runs once a day.
  schedule  = var.schedule
  time_zone = var.time_zone

  attempt_deadline = "${local.scheduler_deadline}s"

  # 503 and 500 are worth another try, after minutes rather than seconds: what failed was TikTok's or Google's. Four
  # attempts and the pauses between them are over before the next run of the default schedule.
  retry_config {
    retry_count          = 3
    min_backoff_duration = "300s"
    max_backoff_duration = "1200s"
    max_doublings        = 2
  }

  http_target {
    http_method = "POST"
    uri         = google_cloudfunctions2_function.refresh.service_config[0].uri
    body        = base64encode("{}")
    headers     = { "Content-Type" = "application/json" }

    oidc_token {
      service_account_email = google_service_account.this["scheduler"].email
      audience              = google_cloudfunctions2_function.refresh.service_config[0].uri
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_member.scheduler]
}
