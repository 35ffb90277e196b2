# Containers only. `make deploy` puts the values of app-secret and link-signing-keys in, so that neither is ever in a plan
# or a state; keeper never has a value, only notes about the last run. Connections' own secrets are made by `connect`.

resource "google_secret_manager_secret" "this" {
  for_each = {
    app-secret        = "The TikTok app's secret."
    link-signing-keys = "Keys that sign connect links, newest first."
    keeper            = "Notes about the last run."
  }

  secret_id = "${var.secret_prefix}-${each.key}"
  labels    = { holds = each.key }

  replication {
    dynamic "auto" {
      for_each = length(var.secret_locations) == 0 ? ["everywhere"] : []

      content {
        dynamic "customer_managed_encryption" {
          for_each = compact([var.kms_key])

          content {
            kms_key_name = customer_managed_encryption.value
          }
        }
      }
    }
    dynamic "user_managed" {
      for_each = length(var.secret_locations) > 0 ? ["here"] : []

      content {
        dynamic "replicas" {
          for_each = var.secret_locations

          content {
            location = replicas.value

            dynamic "customer_managed_encryption" {
              for_each = compact([var.kms_key])

              content {
                kms_key_name = customer_managed_encryption.value
              }
            }
          }
        }
      }
    }
  }

  depends_on = [
    google_project_service.api,
    google_kms_crypto_key_iam_member.secret_manager,
  ]
}

# Secret Manager's own account, which encrypts with the key.
resource "google_project_service_identity" "secret_manager" {
  count    = var.kms_key != null ? 1 : 0
  provider = google-beta

  service = "secretmanager.googleapis.com"

  depends_on = [google_project_service.api]
}

resource "google_kms_crypto_key_iam_member" "secret_manager" {
  count = var.kms_key != null ? 1 : 0

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = google_project_service_identity.secret_manager[0].member

  lifecycle {
    precondition {
      condition     = length(var.secret_locations) <= 1
      error_message = "kms_key works with automatic replication (a key in the location global) or with exactly one of secret_locations (a key in that region): a key encrypts in its own location only."
    }
    precondition {
      condition     = length(var.secret_locations) > 1 || strcontains(var.kms_key, "/locations/${join("", concat(var.secret_locations, length(var.secret_locations) == 0 ? ["global"] : []))}/")
      error_message = "kms_key is in another location than the secrets: automatic replication takes a key in the location global, one of secret_locations a key in that region."
    }
  }
}
