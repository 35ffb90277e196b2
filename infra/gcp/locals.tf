locals {
  labels = merge(var.labels, { managed-by = "tiktok-token-keeper" })

  connect = "${var.name}-connect"
  refresh = "${var.name}-refresh"

  # Known before anything is deployed, so that it can be registered with TikTok first: 100 characters at most for the
  # longest region, project id and name.
  connect_url = "https://${var.region}-${replace(var.project_id, ":", ".")}.cloudfunctions.net/${local.connect}"
  public_url  = coalesce(var.public_url, local.connect_url)

  # Beginnings of the names of secrets. None is the beginning of another.
  token_secrets   = "${var.secret_prefix}-token-"
  refresh_secrets = "${var.secret_prefix}-refresh-"
  keeper_secret   = "${var.secret_prefix}-keeper"

  # RUN_BUDGET_SECONDS + 120 s for storing what was received <= the function's timeout < the Scheduler's deadline, which
  # is 1800 s at most. The other way round, a run would be cut off, or sent again while it is still at work.
  refresh_timeout    = var.run_budget_seconds + 240
  scheduler_deadline = local.refresh_timeout + 60

  # A callback takes CALLBACK_BUDGET_SECONDS at most; the rest is for starting an instance.
  callback_budget = 50
  connect_timeout = local.callback_budget + 30

  connect_concurrency = 16

  # The IAM condition of a reader takes at most 12 logical operators: ten connections are one condition.
  reader_grants = merge(
    { for reader in var.readers : reader.principal => {
      principal = reader.principal
      title     = "All TikTok tokens"
      prefixes  = [local.token_secrets]
    } if reader.connections == null },
    merge([for reader in var.readers : {
      for number, names in chunklist(sort(distinct(coalesce(reader.connections, []))), 10) : "${reader.principal} ${number}" => {
        principal = reader.principal
        title     = "TikTok tokens ${number + 1}"
        prefixes  = [for name in names : "${local.token_secrets}${name}/versions/"]
      }
    }]...),
  )
}
