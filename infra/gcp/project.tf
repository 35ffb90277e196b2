resource "google_project_service" "api" {
  for_each = toset(concat(
    [
      "artifactregistry.googleapis.com",
      "cloudbuild.googleapis.com",
      "cloudfunctions.googleapis.com",
      "cloudresourcemanager.googleapis.com",
      "cloudscheduler.googleapis.com",
      "iam.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "run.googleapis.com",
      "secretmanager.googleapis.com",
      "storage.googleapis.com",
    ],
    var.events_topic ? ["pubsub.googleapis.com"] : [],
  ))

  service = each.key

  # Other things in the project may use them.
  disable_on_destroy = false
}

# IAM conditions on a secret's name need the project's number.
data "google_project" "this" {
  project_id = google_project_service.api["cloudresourcemanager.googleapis.com"].project
}

# Who read or wrote which secret, when. Secret Manager's audit entries hold names, never payloads.
resource "google_project_iam_audit_config" "secret_manager" {
  count = var.audit_logs ? 1 : 0

  project = var.project_id
  service = "secretmanager.googleapis.com"

  audit_log_config {
    log_type = "ADMIN_READ"
  }
  audit_log_config {
    log_type = "DATA_READ"
  }
  audit_log_config {
    log_type = "DATA_WRITE"
  }
}

# Cloud Run's request log records every address, and with it authorization codes, states and connect links. What was
# refused, and why, is in the function's own log, which holds none of them.
resource "google_logging_project_exclusion" "addresses_with_codes" {
  name        = "${local.connect}-addresses"
  description = "Authorization codes, states and connect links are part of these addresses."
  filter      = "log_id(\"run.googleapis.com/requests\") AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${local.connect}\" AND httpRequest.requestUrl:\"?\""

  depends_on = [google_project_service.api]
}
