# What the functions log, counted. The names of events and fields are the code's; the tests hold one against the other.
locals {
  log_of = {
    connect = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${local.connect}\""
    refresh = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${local.refresh}\""
    both    = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=(\"${local.connect}\" OR \"${local.refresh}\")"
  }

  # Counted one by one, with the labels that a notification or a chart shows.
  counters = {
    reauthorize = {
      description = "Connections that need a person to authorize again."
      filter      = "${local.log_of.refresh} AND jsonPayload.event=\"reauthorization.required\""
      labels      = { connection = "jsonPayload.connection" }
    }
    ending = {
      description = "Warnings that a token which cannot be renewed is about to end."
      filter      = "${local.log_of.refresh} AND jsonPayload.event=\"refresh_token.ending\""
      labels      = { connection = "jsonPayload.connection" }
    }
    unsaved = {
      description = "Tokens that TikTok handed out and that could not be stored."
      filter      = "${local.log_of.both} AND jsonPayload.event=\"token.unsaved\""
      labels      = { connection = "jsonPayload.connection" }
    }
    failing = {
      description = "Connections that have failed for a day, or whose token has less than six and a half hours left."
      filter      = "${local.log_of.refresh} AND jsonPayload.event=\"connection.failing\""
      labels      = { connection = "jsonPayload.connection" }
    }
    unreadable = {
      description = "Secrets that cannot be read or rebuilt, or were deleted."
      filter      = "${local.log_of.refresh} AND jsonPayload.event=(\"secret.unreadable\" OR \"secret.deleted\")"
      labels      = { connection = "jsonPayload.connection" }
    }
    emptied = {
      description = "Connections whose token reaches no advertiser any more, or less than half of those it did."
      filter      = "${local.log_of.refresh} AND (jsonPayload.event=\"connection.empty\" OR (jsonPayload.event=\"connection.changed\" AND severity>=ERROR))"
      labels      = { connection = "jsonPayload.connection" }
    }
    other-app = {
      description = "Runs that found connections of another app than tiktok_app_id."
      filter      = "${local.log_of.refresh} AND jsonPayload.event=\"connection.other_app\""
      labels      = {}
    }
    behind = {
      description = "Runs that could not refresh tokens which end before long."
      filter      = "${local.log_of.refresh} AND jsonPayload.event=\"run.behind\""
      labels      = {}
    }
    stopped = {
      description = "What stops a function for all connections alike: wrong settings, missing permissions, a defect."
      filter      = "${local.log_of.both} AND jsonPayload.event=(\"run.stopped\" OR \"settings.invalid\" OR \"defect\")"
      labels      = { event = "jsonPayload.event" }
    }
    refused-connections = {
      description = "Callbacks that connect refused for a reason that is not the visitor's."
      filter      = "${local.log_of.connect} AND jsonPayload.event=\"connection.refused\" AND severity>=ERROR"
      labels      = { reason = "jsonPayload.reason" }
    }
    # Without what every address on the internet gets: requests for pages that only other programs have.
    refused = {
      description = "Callbacks and links that connect refused."
      filter      = "${local.log_of.connect} AND jsonPayload.event=\"connection.refused\" AND NOT jsonPayload.reason=(\"unknown_path\" OR \"wrong_method\")"
      labels      = { reason = "jsonPayload.reason" }
    }
    stored = {
      description = "Connections stored, first ones and later ones."
      filter      = "${local.log_of.connect} AND jsonPayload.event=\"connection.stored\""
      labels      = {}
    }
    refreshed = {
      description = "Expiring tokens refreshed."
      filter      = "${local.log_of.refresh} AND jsonPayload.event=\"token.refreshed\""
      labels      = {}
    }
    runs = {
      description = "Runs over all connections that came to their end, well or not."
      filter      = "${local.log_of.refresh} AND jsonPayload.event=\"run.finished\" AND NOT jsonPayload.limited=true"
      labels      = {}
    }
    trouble = {
      description = "Everything logged as a warning or worse."
      filter      = "${local.log_of.both} AND severity>=WARNING AND jsonPayload.event:*"
      labels      = { event = "jsonPayload.event" }
    }
    scheduler-failures = {
      description = "Attempts of the Scheduler that did not reach refresh or got no answer in time. An answer of 500 or 503 is a failing run, not one of these."
      filter      = "resource.type=\"cloud_scheduler_job\" AND resource.labels.job_id=\"${local.refresh}\" AND severity>=ERROR AND NOT jsonPayload.status=(\"UNAVAILABLE\" OR \"INTERNAL\")"
      labels      = { status = "jsonPayload.status" }
    }
  }

  # Numbers that the end of a run tells. Runs of a few connections by name would draw a wrong picture of all of them.
  gauges = {
    refreshed   = { description = "Connections refreshed in a run.", unit = "1" }
    verified    = { description = "Connections verified in a run.", unit = "1" }
    skipped     = { description = "Connections that were not due.", unit = "1" }
    failing     = { description = "Connections with a transient failure.", unit = "1" }
    reauthorize = { description = "Connections that need a person.", unit = "1" }
    remaining   = { description = "Connections that a run did not get to.", unit = "1" }
    seconds     = { description = "How long a run took.", unit = "s" }
    next_expiry_seconds = {
      description = "Time until the next access token ends that is not refreshed yet."
      unit        = "s"
    }
  }

  counter_type = { for key, metric in google_logging_metric.counter : key => "logging.googleapis.com/user/${metric.name}" }
  gauge_type   = { for key, metric in google_logging_metric.gauge : key => "logging.googleapis.com/user/${metric.name}" }
}

resource "google_logging_metric" "counter" {
  for_each = local.counters

  name             = "${var.name}-${each.key}"
  description      = each.value.description
  filter           = each.value.filter
  label_extractors = { for label, field in each.value.labels : label => "EXTRACT(${field})" }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"

    dynamic "labels" {
      for_each = each.value.labels

      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_logging_metric" "gauge" {
  for_each = local.gauges

  name            = "${var.name}-run-${replace(each.key, "_", "-")}"
  description     = each.value.description
  filter          = "${local.log_of.refresh} AND jsonPayload.event=\"run.finished\" AND NOT jsonPayload.limited=true"
  value_extractor = "EXTRACT(jsonPayload.${each.key})"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = each.value.unit
  }

  bucket_options {
    exponential_buckets {
      num_finite_buckets = 24
      growth_factor      = 2
      scale              = 1
    }
  }

  depends_on = [google_project_service.api]
}
