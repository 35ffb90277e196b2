# Zero and empty values are left out throughout: Cloud Monitoring does not give them back, and the next plan would not be
# empty.
locals {
  # The mean of a distribution is exact, and a run is one point of it.
  run_query = { for key, type in local.gauge_type : key => {
    timeSeriesFilter = {
      filter = "metric.type=\"${type}\" AND resource.type=\"cloud_run_revision\""
      aggregation = {
        alignmentPeriod    = "3600s"
        perSeriesAligner   = "ALIGN_DELTA"
        crossSeriesReducer = "REDUCE_MEAN"
      }
    }
  } }

  count_query = { for key, type in local.counter_type : key => {
    timeSeriesFilter = {
      filter = "metric.type=\"${type}\" AND resource.type=\"${key == "scheduler-failures" ? "cloud_scheduler_job" : "cloud_run_revision"}\""
      aggregation = {
        alignmentPeriod    = "3600s"
        perSeriesAligner   = "ALIGN_DELTA"
        crossSeriesReducer = "REDUCE_SUM"
        groupByFields      = [for label in keys(local.counters[key].labels) : "metric.label.${label}" if label != "connection"]
      }
    }
  } }

  charts = [
    {
      title = "Connections by health, at each run"
      unit  = "connections"
      type  = "STACKED_BAR"
      lines = [
        { legend = "refreshed", query = local.run_query["refreshed"] },
        { legend = "verified", query = local.run_query["verified"] },
        { legend = "not due", query = local.run_query["skipped"] },
        { legend = "transient failures", query = local.run_query["failing"] },
        { legend = "need a person", query = local.run_query["reauthorize"] },
        { legend = "not reached", query = local.run_query["remaining"] },
      ]
    },
    {
      title = "Time to the next expiry of an access token"
      unit  = "seconds"
      type  = "LINE"
      lines = [{ legend = "seconds", query = local.run_query["next_expiry_seconds"] }]
    },
    {
      title = "Runs, and what kept the Scheduler from them"
      unit  = "an hour"
      type  = "STACKED_BAR"
      lines = [
        { legend = "finished", query = local.count_query["runs"] },
        { legend = "Scheduler failures", query = local.count_query["scheduler-failures"] },
      ]
    },
    {
      title = "How long a run took"
      unit  = "seconds"
      type  = "LINE"
      lines = [{ legend = "seconds", query = local.run_query["seconds"] }]
    },
    {
      title = "Refreshes and connections made"
      unit  = "an hour"
      type  = "STACKED_BAR"
      lines = [
        { legend = "tokens refreshed", query = local.count_query["refreshed"] },
        { legend = "connections stored", query = local.count_query["stored"] },
      ]
    },
    {
      title = "Failures by kind"
      unit  = "an hour"
      type  = "STACKED_BAR"
      lines = [{ legend = "$${metric.labels.event}", query = local.count_query["trouble"] }]
    },
    {
      title = "Refused callbacks by reason"
      unit  = "an hour"
      type  = "STACKED_BAR"
      lines = [{ legend = "$${metric.labels.reason}", query = local.count_query["refused"] }]
    },
  ]
}

resource "google_monitoring_dashboard" "this" {
  dashboard_json = jsonencode({
    displayName = "TikTok token keeper (${var.name})"
    gridLayout = {
      columns = "2"
      widgets = concat(
        [for chart in local.charts : {
          title = chart.title
          xyChart = {
            dataSets = [for line in chart.lines : {
              plotType       = chart.type
              legendTemplate = line.legend
              timeSeriesQuery = {
                timeSeriesFilter = {
                  filter      = line.query.timeSeriesFilter.filter
                  aggregation = { for key, value in line.query.timeSeriesFilter.aggregation : key => value if key != "groupByFields" || length(value) > 0 }
                }
              }
            }]
            yAxis = { label = chart.unit, scale = "LINEAR" }
          }
        }],
        [{
          title = "Alerts"
          incidentList = {
            policyNames = [for policy in concat(values(google_monitoring_alert_policy.counted), [google_monitoring_alert_policy.missed_run]) : policy.name]
          }
        }],
      )
    }
  })
}
