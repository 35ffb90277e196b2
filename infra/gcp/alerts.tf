resource "google_monitoring_notification_channel" "email" {
  count = var.alert_email != null ? 1 : 0

  display_name = "TikTok token keeper (${var.name})"
  type         = "email"
  labels       = { email_address = var.alert_email }

  depends_on = [google_project_service.api]
}

locals {
  channels = concat(google_monitoring_notification_channel.email[*].id, var.notification_channels)

  logs_address = "https://console.cloud.google.com/logs/query?project=${var.project_id}"

  # More than `above` within `minutes` opens an incident, one for each value of `by`.
  alerts = {
    reauthorize = {
      title    = "a connection needs to be authorized again"
      severity = "ERROR"
      filter   = "metric.type=\"${local.counter_type["reauthorize"]}\" AND resource.type=\"cloud_run_revision\""
      by       = ["metric.label.connection"]
      minutes  = 5
      above    = 0
      text     = <<-EOT
        TikTok says that the token of **$${metric.label.connection}** is no longer valid, or the advertiser took the permission back. Nothing but a new authorization helps; until then its pipelines fail.

        1. `make status` shows what TikTok answered.
        2. `make link CONNECTION=$${metric.label.connection}` makes a new connect link: send it to whoever may approve for that advertiser.
        3. Once they have approved, pipelines go on by themselves: the secret keeps its name.
      EOT
    }
    ending = {
      title    = "a token is about to end for good"
      severity = "WARNING"
      filter   = "metric.type=\"${local.counter_type["ending"]}\" AND resource.type=\"cloud_run_revision\""
      by       = ["metric.label.connection"]
      minutes  = 5
      above    = 0
      text     = <<-EOT
        The authorization of **$${metric.label.connection}** comes to an end that no refresh moves (you hear of it 30, 14, 7, 3 and 1 days before). `make status` says when.

        `make link CONNECTION=$${metric.label.connection}` makes a new connect link: have it approved before then, and no pipeline notices.
      EOT
    }
    unsaved = {
      title    = "a token could not be saved"
      severity = "CRITICAL"
      filter   = "metric.type=\"${local.counter_type["unsaved"]}\" AND resource.type=\"cloud_run_revision\""
      by       = ["metric.label.connection"]
      minutes  = 5
      above    = 0
      text     = <<-EOT
        TikTok issued a new token for **$${metric.label.connection}**, and Secret Manager did not take it although it was tried again and again. From `connect` it is lost. `refresh` keeps it as long as its instance lives and tries again with each run (`token.saved` says that it is stored).

        1. See whether Secret Manager is well: https://status.cloud.google.com, and `make doctor` for permissions and quotas.
        2. `make status`: if the connection needs a person, `make link CONNECTION=$${metric.label.connection}` and have it approved again. If it does not, the next run has repaired it.
      EOT
    }
    failing = {
      title    = "a connection keeps failing"
      severity = "ERROR"
      filter   = "metric.type=\"${local.counter_type["failing"]}\" AND resource.type=\"cloud_run_revision\""
      by       = ["metric.label.connection"]
      minutes  = 5
      above    = 0
      text     = <<-EOT
        **$${metric.label.connection}** has failed for a day, or its access token has less than six and a half hours left and could not be refreshed. The token is still stored, and every run tries again.

        `make status` shows the last answer. Trouble at TikTok passes by itself, and then many connections fail at once. Where only this connection fails, `make link CONNECTION=$${metric.label.connection}` and have it approved again.
      EOT
    }
    emptied = {
      title    = "a connection has lost its advertisers"
      severity = "ERROR"
      filter   = "metric.type=\"${local.counter_type["emptied"]}\" AND resource.type=\"cloud_run_revision\""
      by       = ["metric.label.connection"]
      minutes  = 5
      above    = 0
      text     = <<-EOT
        TikTok accepts the token of **$${metric.label.connection}**, but lists no advertiser for it any more, or less than half of those that it did, and said so twice. Pipelines go on and read less, or nothing.

        Ask whoever approved whether the advertisers were moved or taken from them. `make status` shows what is stored; `make link CONNECTION=$${metric.label.connection}` makes a link to approve again with the right ones.
      EOT
    }
    other-app = {
      title    = "connections belong to another app"
      severity = "ERROR"
      filter   = "metric.type=\"${local.counter_type["other-app"]}\" AND resource.type=\"cloud_run_revision\""
      by       = []
      minutes  = 5
      above    = 0
      text     = <<-EOT
        Some connections were made with another TikTok app than the one of `tiktok_app_id` (${var.tiktok_app_id}), and are left alone: nothing refreshes or verifies them. `make status` names them.

        If the app was changed by mistake, set `tiktok_app_id` back and run `make deploy`. If it was meant, connect each again: `make link CONNECTION=…`.
      EOT
    }
    behind = {
      title    = "tokens could not be refreshed in time"
      severity = "ERROR"
      filter   = "metric.type=\"${local.counter_type["behind"]}\" AND resource.type=\"cloud_run_revision\""
      by       = []
      minutes  = 5
      above    = 0
      text     = <<-EOT
        Expiring tokens have less than six and a half hours left, and a run could not refresh them, though nothing is wrong with them. The entry names them and says why: ${local.logs_address}, event `run.behind`. Every run tries again.

        - TikTok gets too many calls: pipelines use up what the app may do. Slow them down, or lower `tiktok_max_qps`; then `make refresh`.
        - Secret Manager is away: https://status.cloud.google.com, and `make doctor` for permissions and quotas.
        - The run's budget was over: there are more connections than a run gets through. Raise `tiktok_max_qps`, if the app may call more often, or `run_budget_seconds`, or run more often (`schedule`).
      EOT
    }
    stopped = {
      title    = "the token keeper cannot work"
      severity = "CRITICAL"
      filter   = "metric.type=\"${local.counter_type["stopped"]}\" AND resource.type=\"cloud_run_revision\""
      by       = ["metric.label.event"]
      minutes  = 5
      above    = 0
      text     = <<-EOT
        Something stops it for all connections alike, so that no connection was blamed (event `$${metric.label.event}`):

        - `run.stopped`: the app's id or secret is wrong, the app is blocked, TikTok refuses this region, or a permission is missing. The entry says which: ${local.logs_address}
        - `settings.invalid`: an environment variable is wrong, and the entry names it. `make deploy` sets all of them.
        - `defect`: an error that nobody expected; please report it with the entry.

        `make doctor` looks at each of these. A new app secret goes in with `gcloud secrets versions add ${var.secret_prefix}-app-secret --project=${var.project_id} --data-file=-`; then `make refresh`.
      EOT
    }
    unreadable = {
      title    = "a stored token cannot be read"
      severity = "ERROR"
      filter   = "metric.type=\"${local.counter_type["unreadable"]}\" AND resource.type=\"cloud_run_revision\""
      by       = ["metric.label.connection"]
      minutes  = 5
      above    = 0
      text     = <<-EOT
        The secret of **$${metric.label.connection}** was changed by hand, disabled, deleted or closed to the token keeper's account, and could not be put right from its refresh secret.

        Give the account its access back, or enable the newest version; if the payload itself is broken or the secret is gone, `make link CONNECTION=$${metric.label.connection}` and connect again.
      EOT
    }
    failing-runs = {
      title    = "runs are failing"
      severity = "ERROR"
      filter   = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.label.service_name=\"${local.refresh}\" AND metric.label.response_code_class=\"5xx\""
      by       = []
      minutes  = 180
      above    = 2
      text     = <<-EOT
        A run of the token keeper failed, and so did its retries. Tokens live on for now: an expiring one is refreshed when half of its life is left.

        1. `make doctor`: wrong app secret, missing permissions, an API that is switched off, a blocked region.
        2. The log says why: ${local.logs_address}, event `run.finished` and errors of the service `${local.refresh}`.
        3. `make refresh` runs it again at once.
      EOT
    }
    scheduler = {
      title    = "Cloud Scheduler cannot reach refresh"
      severity = "ERROR"
      filter   = "metric.type=\"${local.counter_type["scheduler-failures"]}\" AND resource.type=\"cloud_scheduler_job\""
      by       = []
      minutes  = 180
      above    = 2
      text     = <<-EOT
        The Scheduler's calls were turned away (401 or 403: its account lost `roles/run.invoker` on `${local.refresh}`), went nowhere (404), or were not answered in time.

        `make deploy` puts the permission and the job back as they were; `make refresh` runs it meanwhile.
      EOT
    }
    refused-connections = {
      title    = "somebody could not connect"
      severity = "ERROR"
      filter   = "metric.type=\"${local.counter_type["refused-connections"]}\" AND resource.type=\"cloud_run_revision\""
      by       = ["metric.label.reason"]
      minutes  = 5
      above    = 0
      text     = <<-EOT
        `connect` refused somebody for a reason that is not theirs: `$${metric.label.reason}`. The entry has the detail: ${local.logs_address}, event `connection.refused` of severity ERROR.

        - `other_family`, `other_account`, `other_advertisers`: they approved something else than the connection has. If that was intended, `make link CONNECTION=… ANY_ACCOUNT=1`.
        - `advertisers_not_listed`: through the portal's own link somebody approved ad accounts that `portal_advertiser_ids` does not name.
        - `store_refused`: Secret Manager refuses for good. `make doctor` checks permissions.
        - `tiktok_refused`, `invalid_scope`: TikTok refuses the app, or one of its scopes. `make doctor` checks the app's id and secret.
        - `store_unavailable`, `link_not_checked`, `tiktok_unreachable`, `tiktok_silent`: nothing, if it happens once; the page says to try again.
      EOT
    }
    refused = {
      title    = "many callbacks are refused"
      severity = "WARNING"
      filter   = "metric.type=\"${local.counter_type["refused"]}\" AND resource.type=\"cloud_run_revision\""
      by       = []
      minutes  = 10
      above    = var.refused_callbacks
      text     = <<-EOT
        The public address refused more than ${var.refused_callbacks} callbacks or links in ten minutes. Nothing was stored and no call was made to TikTok: somebody is trying addresses, or a link that does not work any more was sent to many people.

        The log has the reasons (${local.logs_address}, event `connection.refused`). `link_expired` and `link_used` in numbers mean people: send them new links. For anything else nothing has to be done: instances are capped, so a flood costs little. Where it does not stop, put a load balancer with Cloud Armor in front (`public_url`).
      EOT
    }
  }
}

resource "google_monitoring_alert_policy" "counted" {
  for_each = local.alerts

  display_name          = "TikTok token keeper (${var.name}): ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = each.value.title

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = "0s"

      aggregations {
        alignment_period     = "${each.value.minutes * 60}s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = each.value.by
      }
    }
  }

  alert_strategy {
    # That the count is back at zero does not mean that the trouble is over: no message that says so.
    notification_prompts = ["OPENED"]
    auto_close           = "86400s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.text
  }

  # A metric takes minutes to be known to Cloud Monitoring; building the functions takes longer.
  depends_on = [
    google_cloudfunctions2_function.connect,
    google_cloudfunctions2_function.refresh,
  ]
}

# In PromQL, since a threshold is never compared where there is no data at all, which is what a missed run looks like.
resource "google_monitoring_alert_policy" "missed_run" {
  display_name          = "TikTok token keeper (${var.name}): a run did not happen"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "no finished run in ${var.missed_run_hours} hours"

    condition_prometheus_query_language {
      query                     = "(sum(increase(logging_googleapis_com:user_${replace(google_logging_metric.counter["runs"].name, "-", "_")}{monitored_resource=\"cloud_run_revision\"}[${var.missed_run_hours}h])) or vector(0)) < 1"
      duration                  = "1800s"
      evaluation_interval       = "300s"
      disable_metric_validation = true
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      No run of the token keeper has come to its end for ${var.missed_run_hours} hours (schedule: `${var.schedule}`, ${var.time_zone}). Long-lived tokens go on working unwatched; expiring ones end within a day of their last refresh.

      1. `make status` says when the last run was, `make refresh` runs it now.
      2. Is the job paused or gone? `gcloud scheduler jobs describe ${local.refresh} --location=${var.region} --project=${var.project_id}`
      3. `make deploy` puts everything back as it was.
    EOT
  }

  depends_on = [google_cloud_scheduler_job.refresh]
}
