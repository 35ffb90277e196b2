output "project_id" {
  description = "Project that everything was made in."
  value       = var.project_id
}

output "public_url" {
  description = "Address of connect: register exactly this as the Advertiser redirect URL of the app in TikTok's portal."
  value       = local.public_url
}

output "account_redirect_url" {
  description = "Register this one too, with the slash, where TikTok accounts are connected: as the redirect URL of TikTok account holders."
  value       = "${local.public_url}/"
}

output "connect_url" {
  description = "Address of the function itself: what a load balancer in front of it has to call."
  value       = google_cloudfunctions2_function.connect.service_config[0].uri
}

output "refresh_url" {
  description = "Address of refresh, for `make refresh`. It answers only callers that IAM lets in."
  value       = google_cloudfunctions2_function.refresh.service_config[0].uri
}

output "secret_prefix" {
  description = "First part of every secret's name: pipelines read SECRET_PREFIX-token-CONNECTION."
  value       = var.secret_prefix
}

output "tiktok_app_id" {
  description = "The TikTok app that connections are made for."
  value       = var.tiktok_app_id
}

output "app_secret_name" {
  description = "Secret that holds the app's secret."
  value       = google_secret_manager_secret.this["app-secret"].name
}

output "link_signing_keys_name" {
  description = "Secret that holds the keys that sign connect links."
  value       = google_secret_manager_secret.this["link-signing-keys"].name
}

output "scheduler_job" {
  description = "The job that calls refresh."
  value       = google_cloud_scheduler_job.refresh.id
}

output "service_accounts" {
  description = "Accounts that were made, by what they do."
  value       = { for key, account in google_service_account.this : key => account.email }
}

output "source_hash" {
  description = "Hash of the source that both functions run, as their build variable SOURCE_HASH has it."
  value       = local.source_hash
}

output "public_access" {
  description = "How connect is opened to the internet: with no_invoker_check, `make deploy` does it after Terraform."
  value       = var.public_access
}

output "events_topic" {
  description = "Pub/Sub topic of events; null where events_topic is false."
  value       = one(google_pubsub_topic.events[*].id)
}

output "dashboard" {
  description = "Address of the dashboard."
  value       = "https://console.cloud.google.com/monitoring/dashboards/builder/${element(split("/", google_monitoring_dashboard.this.id), 3)}?project=${var.project_id}"
}

output "next_steps" {
  description = "What to do now."
  value       = <<-EOT
    1. Register with your app (TikTok's portal, My Apps), as the Advertiser redirect URL:
       ${local.public_url}
       and, to connect TikTok accounts as well, as the redirect URL of TikTok account holders, with the slash:
       ${local.public_url}/
    2. Make a connect link, and send it to whoever may approve for the advertiser:
       make link CONNECTION=acme
    3. Read the token:
       gcloud secrets versions access latest --secret=${local.token_secrets}acme --project=${var.project_id}
    `make status` shows how all connections are, `make doctor` whether everything is in place.
  EOT
}
