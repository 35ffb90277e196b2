# One account for each thing that runs, and one to build with, so that none of them is a default account with the roles
# of an editor.
resource "google_service_account" "this" {
  for_each = {
    build     = "Builds both functions"
    connect   = "The public function: creates and writes connections, reads none"
    refresh   = "The private function: keeps the stored tokens working"
    scheduler = "Calls refresh, and can do nothing else"
  }

  account_id   = "${var.name}-${each.key}"
  display_name = "TikTok token keeper: ${each.key}"
  description  = each.value

  depends_on = [google_project_service.api]
}

# Custom roles, since Google's small ones lack secrets.create and secrets.update, and its large ones read every secret.
locals {
  roles = {
    create = {
      title       = "TikTok tokens: create"
      description = "Make the secrets of a new connection."
      permissions = ["secretmanager.secrets.create"]
    }
    write = {
      title       = "TikTok tokens: write"
      description = "Add versions to token secrets and annotate them, without reading any."
      permissions = ["secretmanager.secrets.get", "secretmanager.secrets.update", "secretmanager.versions.add"]
    }
    add = {
      title       = "TikTok tokens: add"
      description = "Add versions to refresh secrets, without reading any."
      permissions = ["secretmanager.versions.add"]
    }
    list = {
      title       = "TikTok tokens: list"
      description = "List secrets by name, label and annotation."
      permissions = ["secretmanager.secrets.list"]
    }
    keep = {
      title       = "TikTok tokens: keep"
      description = "Read and renew connections, and destroy their old versions."
      permissions = [
        "secretmanager.secrets.get",
        "secretmanager.versions.access",
        "secretmanager.versions.add",
        "secretmanager.versions.destroy",
        "secretmanager.versions.get",
        "secretmanager.versions.list",
      ]
    }
    note = {
      title       = "TikTok tokens: note"
      description = "Label and annotate secrets of connections, and the keeper's own."
      permissions = ["secretmanager.secrets.get", "secretmanager.secrets.update"]
    }
    forget = {
      title       = "TikTok tokens: forget"
      description = "Delete the refresh secret that a long-lived grant has replaced."
      permissions = ["secretmanager.secrets.delete"]
    }
  }

  # Secret Manager asks for secrets.create and secrets.list on the project, where no condition on a name can hold.
  grants = {
    connect-create = { account = "connect", role = "create", prefixes = [] }
    connect-write  = { account = "connect", role = "write", prefixes = [local.token_secrets] }
    connect-add    = { account = "connect", role = "add", prefixes = [local.refresh_secrets] }
    refresh-list   = { account = "refresh", role = "list", prefixes = [] }
    refresh-keep   = { account = "refresh", role = "keep", prefixes = [local.token_secrets, local.refresh_secrets] }
    refresh-note   = { account = "refresh", role = "note", prefixes = [local.token_secrets, local.refresh_secrets] }
    refresh-forget = { account = "refresh", role = "forget", prefixes = [local.refresh_secrets] }
  }

  secrets_path = "projects/${data.google_project.this.number}/secrets"
}

resource "google_project_iam_custom_role" "this" {
  for_each = local.roles

  role_id     = "${replace(var.name, "-", "_")}_tokens_${each.key}${var.role_suffix}"
  title       = each.value.title
  description = each.value.description
  permissions = each.value.permissions

  depends_on = [google_project_service.api]
}

resource "google_project_iam_member" "function" {
  for_each = local.grants

  project = var.project_id
  role    = google_project_iam_custom_role.this[each.value.role].name
  member  = google_service_account.this[each.value.account].member

  dynamic "condition" {
    for_each = length(each.value.prefixes) > 0 ? ["by name"] : []

    content {
      title       = google_project_iam_custom_role.this[each.value.role].title
      description = "Secrets of connections only."
      expression  = join(" || ", [for prefix in each.value.prefixes : "resource.name.startsWith(\"${local.secrets_path}/${prefix}\")"])
    }
  }
}

resource "google_secret_manager_secret_iam_member" "keeper" {
  secret_id = google_secret_manager_secret.this["keeper"].secret_id
  role      = google_project_iam_custom_role.this["note"].name
  member    = google_service_account.this["refresh"].member
}

# What the functions get as environment variables.
resource "google_secret_manager_secret_iam_member" "credential" {
  for_each = {
    connect-app-secret        = { account = "connect", secret = "app-secret" }
    connect-link-signing-keys = { account = "connect", secret = "link-signing-keys" }
    refresh-app-secret        = { account = "refresh", secret = "app-secret" }
  }

  secret_id = google_secret_manager_secret.this[each.value.secret].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.this[each.value.account].member
}

# Readers get the token secrets and nothing else. By name, not secret by secret: a connection's secret does not exist
# before somebody has approved.
resource "google_project_iam_member" "reader" {
  for_each = local.reader_grants

  project = var.project_id
  role    = "roles/secretmanager.secretAccessor"
  member  = each.value.principal

  condition {
    title       = each.value.title
    description = "Access tokens of the TikTok token keeper only."
    expression  = join(" || ", [for prefix in each.value.prefixes : "resource.name.startsWith(\"${local.secrets_path}/${prefix}\")"])
  }
}

# The page that TikTok sends people back to has to be reachable by everybody; what it does is guarded by signed links.
# Where an organization forbids that member, Cloud Run's check of callers is switched off instead, by `make deploy`.
resource "google_cloud_run_v2_service_iam_member" "public" {
  count = var.public_access == "all_users" ? 1 : 0

  name     = google_cloudfunctions2_function.connect.name
  location = var.region
  role     = "roles/run.invoker"
  member   = "allUsers"

  # A function that is replaced has a new service, which nobody may call. Updates in place leave its id alone.
  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.connect.id]
  }
}

resource "google_cloud_run_v2_service_iam_member" "scheduler" {
  name     = google_cloudfunctions2_function.refresh.name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.this["scheduler"].member

  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.refresh.id]
  }
}

# Building: read the source, write the images into the keeper's own repository, log.
resource "google_artifact_registry_repository_iam_member" "build" {
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.this["build"].member
}

moved {
  from = google_project_iam_member.build["roles/logging.logWriter"]
  to   = google_project_iam_member.build
}

resource "google_project_iam_member" "build" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.this["build"].member
}

# Cloud Functions copies the source into a bucket of its own before it builds.
resource "google_project_iam_member" "build_source" {
  project = var.project_id
  role    = "roles/storage.objectViewer"
  member  = google_service_account.this["build"].member

  condition {
    title       = "Source of functions"
    description = "Buckets with source that is built."
    expression  = join(" || ", [for bucket in [google_storage_bucket.source.name, "gcf-v2-sources-${data.google_project.this.number}-${var.region}"] : "resource.name.startsWith(\"projects/_/buckets/${bucket}\")"])
  }
}
