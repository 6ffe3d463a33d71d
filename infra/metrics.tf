# Metrics from the log: what the code's JSON lines (callbot.log_events) say, counted. A test takes lines that the code has
# really written and applies these filters to them.
#
# A filter names this deployment's services, so that two deployments in one project are counted apart. Google charges
# for what these metrics write, not for how many there are; a label whose values have no bound would make it much, so
# neither a call's id nor a number is ever one.

locals {
  services = {
    functions = [for name in sort(keys(local.functions)) : "${local.prefix}-${name}"]
    stream    = [local.stream_name]
    either    = concat([for name in sort(keys(local.functions)) : "${local.prefix}-${name}"], [local.stream_name])
  }
  log_of = {
    for part, names in local.services : part => join(" AND ", [
      "resource.type=\"cloud_run_revision\"",
      "resource.labels.service_name=(${join(" OR ", formatlist("\"%s\"", names))})",
    ])
  }

  # How many: `events` of the log, told apart by `labels` (label = field).
  counted = {
    calls_started   = { from = "functions", events = ["call started"], labels = { engine = "engine", direction = "direction" }, about = "Calls that were answered." }
    calls_ended     = { from = "functions", events = ["call ended"], labels = { engine = "engine", direction = "direction", ending = "endReason" }, about = "Calls that ended, and why." }
    streams_opened  = { from = "stream", events = ["stream opened"], labels = { engine = "engine" }, about = "Audio streams that were let in." }
    turns           = { from = "stream", events = ["turn answered"], labels = { engine = "engine", code = "code" }, about = "Answers to something that a caller said; with a code, those that failed." }
    long_silences   = { from = "stream", events = ["long silence"], labels = { engine = "engine" }, about = "Callers who heard nothing for more than three seconds after they had spoken: the promise was broken." }
    interruptions   = { from = "stream", events = ["engine lost", "stream lost"], except = "jsonPayload.reason=\"session renewed\"", labels = { engine = "engine", event = "event", reason = "reason" }, about = "Connections of a running call that broke: the carrier's or the vendor's. Not those that callbot renews itself." }
    resumptions     = { from = "stream", events = ["engine ready", "stream opened"], only = "jsonPayload.resumed=true", labels = { engine = "engine", event = "event" }, about = "Connections of a running call that were there again." }
    refused         = { from = "either", events = ["webhook refused", "handshake refused", "stream refused"], labels = { event = "event", path = "path", reason = "reason" }, about = "Requests that claimed to be Twilio's and were turned away." }
    trigger_refused = { from = "functions", events = ["trigger refused"], labels = { path = "path", reason = "reason", status = "httpStatus" }, about = "Requests to outgoing-call and calls that were turned away." }
    vendor_failures = { from = "either", events = ["vendor failed"], labels = { service = "service", code = "code", what = "what" }, about = "What a vendor did not do, after our own further tries." }
    store_failures  = { from = "either", events = ["store down", "store write lost"], labels = { event = "event" }, about = "The call store was not reached; writes that were lost for good." }
    mistakes        = { from = "either", events = ["webhook failed", "request failed", "relay failed", "next step not written in time", "tool failed"], labels = { event = "event" }, about = "Mistakes of ours; their stacks are in the log." }
  }

  # How much: a field of an event as a distribution. Stages of a turn are milliseconds after the caller's last word.
  stages = {
    transcript     = "transcriptMs"
    first_token    = "firstTokenMs"
    first_sentence = "firstSentenceMs"
    first_words    = "firstWordsMs"
  }
  usage = [
    "seconds", "recognitionSeconds", "transcriptSeconds", "transcriptTokensIn", "transcriptTokensOut", "saidCharacters",
    "textTokensIn", "cachedTextTokensIn", "textTokensOut", "audioTokensIn", "cachedAudioTokensIn", "audioTokensOut",
    "cutTextTokensIn", "cutTextTokensOut",
  ]
  snake = { for field in local.usage : field => lower(replace(field, "/([A-Z])/", "_$1")) }
  measured = merge(
    {
      call_seconds = { from = "functions", event = "call ended", field = "durationSeconds", unit = "s", labels = { engine = "engine", direction = "direction" }, about = "How long calls were." }
    },
    {
      for stage, field in local.stages : "turn_${stage}_ms" => {
        from  = "stream", event = "turn answered", field = field, unit = "ms", labels = { engine = "engine" }
        about = "${field} of answers: milliseconds after the caller's last word."
      }
    },
    {
      for field in local.usage : "usage_${local.snake[field]}" => {
        from  = "stream", event = "call usage", field = field, unit = endswith(lower(field), "seconds") ? "s" : "1", labels = { engine = "engine" }
        about = "${field} of streams, as vendors charge it. Its sum is what counts."
      }
    },
  )

  log_filters = merge(
    {
      for name, metric in local.counted : name => join(" AND ", compact([
        local.log_of[metric.from],
        "jsonPayload.event=(${join(" OR ", [for event in metric.events : "\"${event}\""])})",
        lookup(metric, "only", ""),
        can(metric.except) ? "NOT ${metric.except}" : "",
      ]))
    },
    {
      for name, metric in local.measured : name => join(" AND ", [
        local.log_of[metric.from],
        "jsonPayload.event=\"${metric.event}\"",
        "jsonPayload.${metric.field}:*", # a stage that is not known, or a usage of nothing, is not in the line
      ])
    },
  )

  # Names in PromQL (Cloud Monitoring: mapping to PromQL). A metric from the log may be of any resource, so a query has to
  # say of which.
  series = {
    for name in concat(keys(local.counted), keys(local.measured)) :
    name => "logging_googleapis_com:user_${replace(local.prefix, "-", "_")}_${name}"
  }
  promql_run = "monitored_resource=\"cloud_run_revision\""
}

resource "google_logging_metric" "counted" {
  for_each         = local.counted
  name             = "${local.prefix}/${each.key}"
  description      = each.value.about
  filter           = local.log_filters[each.key]
  label_extractors = { for label, field in each.value.labels : label => "EXTRACT(jsonPayload.${field})" }

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

  depends_on = [google_project_service.apis]
}

resource "google_logging_metric" "measured" {
  for_each         = local.measured
  name             = "${local.prefix}/${each.key}"
  description      = each.value.about
  filter           = local.log_filters[each.key]
  value_extractor  = "EXTRACT(jsonPayload.${each.value.field})"
  label_extractors = { for label, field in each.value.labels : label => "EXTRACT(jsonPayload.${field})" }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = each.value.unit

    dynamic "labels" {
      for_each = each.value.labels
      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }

  # For stages the bounds are where the answers differ to a caller: a quantile is only as exact as its bucket is narrow.
  # Of the others the sum and the mean are used, which are exact with any buckets.
  bucket_options {
    dynamic "explicit_buckets" {
      for_each = each.value.unit == "ms" ? [true] : []
      content {
        bounds = [50, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1200, 1400, 1600, 1800, 2000, 2250, 2500, 2750, 3000, 3500, 4000, 5000, 7000, 10000]
      }
    }
    dynamic "exponential_buckets" {
      for_each = each.value.unit == "ms" ? [] : [true]
      content {
        num_finite_buckets = 24
        growth_factor      = 2
        scale              = 1
      }
    }
  }

  depends_on = [google_project_service.apis]
}
