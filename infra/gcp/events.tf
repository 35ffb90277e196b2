# Everything that somebody may want to react to, as messages: what the functions log, sent on by Cloud Logging.
resource "google_pubsub_topic" "events" {
  count = var.events_topic ? 1 : 0

  name = "${var.name}-events"

  depends_on = [google_project_service.api]
}

resource "google_logging_project_sink" "events" {
  count = var.events_topic ? 1 : 0

  name        = "${var.name}-events"
  description = "What the token keeper's functions log with an event, from severity NOTICE."
  destination = "pubsub.googleapis.com/${google_pubsub_topic.events[0].id}"
  filter = join(" AND ", [
    local.log_of.both,
    "jsonPayload.event:*",
    var.events_topic_refreshes ? "(severity>=NOTICE OR jsonPayload.event=\"token.refreshed\")" : "severity>=NOTICE",
  ])

  unique_writer_identity = true
}

resource "google_pubsub_topic_iam_member" "events" {
  count = var.events_topic ? 1 : 0

  topic  = google_pubsub_topic.events[0].name
  role   = "roles/pubsub.publisher"
  member = google_logging_project_sink.events[0].writer_identity
}
