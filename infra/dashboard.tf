# The one page to keep open: is everybody answered, soon, and at what price; then what the machines do, and what went wrong.
#
# `increase(…[1m])` in a chart of counts is the count of each step: Cloud Monitoring widens a window that is shorter than the
# step (PromQL compatibility).

locals {
  dashboard_url = "https://console.cloud.google.com/monitoring/dashboards/builder/${basename(google_monitoring_dashboard.calls.id)}?project=${var.project}"

  on_stream   = "${local.promql_run},service_name=\"${local.stream_name}\""
  on_webhooks = "${local.promql_run},service_name=~\"${local.webhooks}\""
  live_calls  = "sum(increase(run_googleapis_com:container_max_request_concurrencies_sum{${local.on_stream}}[1m]))"

  # Single numbers, in one row. red: from where the number is bad news.
  numbers = [
    { title = "Calls now", query = local.live_calls },
    { title = "Calls, 24 h", query = "sum(increase(${local.of_all.calls_started}[1d])) or vector(0)" },
    {
      title = "Ended badly, % of 24 h"
      query = "100 * (sum(increase(${local.series.calls_ended}{${local.promql_run},ending=~\"${local.bad_endings}\"}[1d])) or vector(0)) / sum(increase(${local.of_all.calls_ended}[1d]))"
      red   = var.alert_limits.bad_calls_percent
    },
    {
      title = "First words, p95 of 24 h, ms"
      query = "histogram_quantile(0.95, sum by (le) (increase(${local.series.turn_first_words_ms}_bucket{${local.promql_run}}[1d])))"
      red   = var.alert_limits.first_words_ms
    },
    { title = "Silences over 3 s, 24 h", query = "sum(increase(${local.of_all.long_silences}[1d])) or vector(0)", red = 1 },
    {
      title = "Spend, 24 h, USD${local.price_doubt}"
      query = replace(local.spend, "WINDOW", "1d")
      red   = var.alert_limits.spend_per_day
    },
    {
      title = "Spend per call, 24 h, USD${local.price_doubt}"
      query = "(${replace(local.spend, "WINDOW", "1d")}) / (sum(increase(${local.of_all.calls_ended}[1d])) > 0)"
    },
    { title = "Vendor failures, 24 h", query = "sum(increase(${local.of_all.vendor_failures}[1d])) or vector(0)", red = 20 },
  ]

  # Charts, three in a row. Each of `lines` is a query by its legend.
  charts = [
    {
      title = "Calls at once", plot = "STACKED_AREA", unit = "calls"
      lines = { "calls" = local.live_calls }
      red   = var.stream_max_instances * var.stream_concurrency
    },
    {
      title = "Calls answered", plot = "STACKED_BAR", unit = "calls"
      lines = { "$${metric.label.direction}, $${metric.label.engine}" = "sum by (direction, engine) (increase(${local.of_all.calls_started}[1m]))" }
    },
    {
      title = "How calls ended", plot = "STACKED_BAR", unit = "calls"
      lines = { "$${metric.label.ending}" = "sum by (ending) (increase(${local.of_all.calls_ended}[1m]))" }
    },
    {
      title = "From the caller's last word to the first of ours", plot = "LINE", unit = "ms"
      lines = {
        for percent in [50, 95] : "p${percent} $${metric.label.engine}" =>
        "histogram_quantile(0.${percent}, sum by (engine, le) (increase(${local.series.turn_first_words_ms}_bucket{${local.promql_run}}[15m])))"
      }
      red = 3000
    },
    {
      title = "Stages of an answer, p50", plot = "LINE", unit = "ms"
      lines = {
        for stage in keys(local.stages) : "${replace(stage, "_", " ")}, $${metric.label.engine}" =>
        "histogram_quantile(0.5, sum by (engine, le) (increase(${local.series["turn_${stage}_ms"]}_bucket{${local.promql_run}}[15m])))"
      }
    },
    {
      title = "Silences over 3 s, and answers that failed", plot = "STACKED_BAR", unit = "turns"
      lines = {
        "silence, $${metric.label.engine}" = "sum by (engine) (increase(${local.of_all.long_silences}[1m]))"
        "failed: $${metric.label.code}"    = "sum by (code) (increase(${local.series.turns}{${local.promql_run},code!=\"\"}[1m]))"
      }
    },
    {
      title = "What vendors did not do", plot = "STACKED_BAR", unit = "failures"
      lines = { "$${metric.label.service} $${metric.label.what}: $${metric.label.code}" = "sum by (service, what, code) (increase(${local.of_all.vendor_failures}[1m]))" }
    },
    {
      title = "Connections that broke, and were there again", plot = "STACKED_BAR", unit = "connections"
      lines = {
        "$${metric.label.event}: $${metric.label.reason}" = "sum by (event, reason) (increase(${local.of_all.interruptions}[1m]))"
        "again: $${metric.label.event}"                   = "sum by (event) (increase(${local.of_all.resumptions}[1m]))"
      }
    },
    {
      title = "Refused", plot = "STACKED_BAR", unit = "requests"
      lines = {
        "$${metric.label.event} $${metric.label.path}: $${metric.label.reason}"           = "sum by (event, path, reason) (increase(${local.of_all.refused}[1m]))"
        "trigger, $${metric.label.status} $${metric.label.path}: $${metric.label.reason}" = "sum by (path, status, reason) (increase(${local.of_all.trigger_refused}[1m]))"
      }
    },
    {
      title = "Spend of an hour${local.price_doubt}", plot = "STACKED_AREA", unit = "USD"
      lines = { for vendor, sum in local.spend_of : vendor => replace(sum, "WINDOW", "1h") }
    },
    {
      title = "Webhooks that failed or were not let in", plot = "STACKED_BAR", unit = "requests"
      lines = {
        "$${resource.label.service_name}, $${metric.label.response_code}" = "sum by (service_name, response_code) (increase(run_googleapis_com:request_count{${local.on_webhooks},response_code=~\"4..|5..\"}[1m]))"
      }
    },
    {
      title = "How long webhooks take", plot = "LINE", unit = "ms"
      lines = {
        for percent in [50, 99] : "p${percent} $${resource.label.service_name}" =>
        "histogram_quantile(0.${percent}, sum by (service_name, le) (increase(run_googleapis_com:request_latencies_bucket{${local.on_webhooks}}[5m])))"
      }
    },
    {
      title = "Instances of the stream service", plot = "STACKED_AREA", unit = "instances"
      lines = { "$${metric.label.state}" = "sum by (state) (run_googleapis_com:container_instance_count{${local.on_stream}})" }
      red   = var.stream_max_instances
    },
    {
      title = "Its fullest instance", plot = "LINE", unit = "share"
      lines = {
        for what in ["cpu", "memory"] : what =>
        "histogram_quantile(0.99, sum by (le) (increase(run_googleapis_com:container_${what}_utilizations_bucket{${local.on_stream}}[5m])))"
      }
      red = 0.85
    },
    {
      title = "Our own mistakes, and the store's failures", plot = "STACKED_BAR", unit = "events"
      lines = {
        "$${metric.label.event}"        = "sum by (event) (increase(${local.of_all.mistakes}[1m]))"
        "store: $${metric.label.event}" = "sum by (event) (increase(${local.of_all.store_failures}[1m]))"
      }
    },
  ]

  # The page is 48 units wide.
  tiles = concat(
    [
      for i, number in local.numbers : {
        xPos = 6 * i, yPos = 0, width = 6, height = 7
        widget = {
          title = number.title
          scorecard = merge(
            { timeSeriesQuery = { prometheusQuery = number.query } },
            can(number.red) ? { thresholds = [{ value = number.red, color = "RED", direction = "ABOVE" }] } : {},
          )
        }
      }
    ],
    [
      for i, chart in local.charts : {
        xPos = 16 * (i % 3), yPos = 7 + 13 * floor(i / 3), width = 16, height = 13
        widget = {
          title = chart.title
          xyChart = merge(
            {
              dataSets = [
                for legend, query in chart.lines : {
                  plotType        = chart.plot
                  targetAxis      = "Y1"
                  legendTemplate  = legend
                  timeSeriesQuery = { prometheusQuery = query }
                }
              ]
              yAxis = { label = chart.unit, scale = "LINEAR" }
            },
            can(chart.red) ? { thresholds = [{ value = chart.red, targetAxis = "Y1" }] } : {},
          )
        }
      }
    ],
    [
      {
        xPos = 0, yPos = 7 + 13 * ceil(length(local.charts) / 3), width = 32, height = 20
        widget = {
          title = "Warnings and errors"
          logsPanel = {
            filter        = "${local.log_of.either} AND severity>=WARNING"
            resourceNames = ["projects/${var.project}"]
          }
        }
      },
      {
        xPos = 32, yPos = 7 + 13 * ceil(length(local.charts) / 3), width = 16, height = 20
        widget = {
          title        = "Open alerts of the project"
          incidentList = {}
        }
      },
    ],
  )
}

resource "google_monitoring_dashboard" "calls" {
  dashboard_json = jsonencode({
    displayName  = "${local.prefix}: calls"
    mosaicLayout = { columns = 48, tiles = local.tiles }
  })

  depends_on = [google_logging_metric.counted, google_logging_metric.measured]
}
