# When somebody is to be told. Each alert has a section in README.md, "Alert: NAME", that says what to do.
#
# The same rules serve ten calls a day and ten thousand. What happens now and then among many is told only when it is too
# many of all: `too_many` asks for a share and for a least number, in ten minutes and in three hours, so that one bad call
# of four in an afternoon is not told, two are, and an outage at full load is after some minutes. What must never happen is told
# at the first time.
#
# All but the uptime alert are PromQL, for two reasons. Only there can a rule ask for a share and a number at once. And a
# condition on a metric that was made a moment ago is refused for some minutes unless its validation is switched off,
# which PromQL conditions can be asked to do: else the first apply would fail.

locals {
  # %[1]s of %[2]s, in Terraform's format(): more than %[3]s of all (0 to 1) and at least %[4]d in ten minutes, or more than
  # that share and at least two in three hours. `increase` may give a fraction more or less than was counted
  # (Cloud Monitoring: PromQL compatibility), so the bounds lie halfway. A part of which nothing was counted is 0.
  too_many = join(" or ", [
    for window, least in { "10m" = "%[4]d - 0.5", "3h" = "1.5" } : format(
      "(sum(increase(%%[1]s[%[1]s])) > %[2]s and sum(increase(%%[1]s[%[1]s])) > %%[3]s * (sum(increase(%%[2]s[%[1]s])) or vector(0)))",
      window, least,
    )
  ])

  of_all   = { for name, series in local.series : name => "${series}{${local.promql_run}}" }
  webhooks = join("|", [for name in ["twiml", "incoming-call", "call-flow", "call-events"] : "${local.prefix}-${name}"])
  requests = "run_googleapis_com:request_count{${local.promql_run},service_name=~\"${local.webhooks}\"}"

  # Ways for a call to end that are our fault or a vendor's. All others are a person's choice: a caller's, a callee's who is busy
  # or does not answer, a tool's that was asked to end it.
  bad_endings = "(openai|amivoice): .*|stream lost|slow answer|relay failed"

  alerts = {
    no-answer = {
      title    = "Callers are not answered"
      severity = "CRITICAL"
      about    = "Twilio's webhooks get 5xx: a caller hears Twilio's own error message, or nothing."
      events   = ["webhook failed"]
      rules = {
        "webhooks answer with 5xx" = {
          query = format(local.too_many, "run_googleapis_com:request_count{${local.promql_run},service_name=~\"${local.webhooks}\",response_code_class=\"5xx\"}", local.requests, "0.02", 2)
        }
      }
    }
    mistake = {
      title    = "A mistake of ours"
      severity = "ERROR"
      about    = "An exception that nobody expected. The caller heard an apology, or was given a new stream; its stack is in the log."
      events   = local.counted.mistakes.events
      rules = {
        "an unexpected exception" = {
          query = "sum by (event) (increase(${local.series.mistakes}{${local.promql_run},event!=\"tool failed\"}[10m])) > 0"
        }
        "a tool fails again and again" = {
          query = "sum(increase(${local.series.mistakes}{${local.promql_run},event=\"tool failed\"}[1h])) > 4.5"
        }
      }
    }
    silence = {
      title    = "Callers wait in silence"
      severity = "CRITICAL"
      about    = "Callers heard nothing for more than three seconds after they had spoken."
      events   = local.counted.long_silences.events
      rules = {
        "too many long silences" = {
          query = format(local.too_many, local.of_all.long_silences, local.of_all.turns, tostring(var.alert_limits.long_silences_percent / 100), 3)
        }
      }
    }
    slow-answers = {
      title    = "Answers begin late"
      severity = "WARNING"
      about    = "Five of a hundred answers begin later than ${var.alert_limits.first_words_ms} ms after the caller's last word."
      events   = ["turn answered"]
      rules = {
        "first words, 95th percentile" = {
          query = join("", [
            "histogram_quantile(0.95, sum by (engine, le) (increase(${local.series.turn_first_words_ms}_bucket{${local.promql_run}}[1h]))) > ${var.alert_limits.first_words_ms}",
            " and sum by (engine) (increase(${local.series.turn_first_words_ms}_count{${local.promql_run}}[1h])) > 19.5",
          ])
        }
      }
    }
    bad-endings = {
      title    = "Calls end badly"
      severity = "CRITICAL"
      about    = "Calls are ended by a failure and not by a person."
      events   = local.counted.calls_ended.events
      rules = {
        "too many calls ended by a failure" = {
          query = format(local.too_many, "${local.series.calls_ended}{${local.promql_run},ending=~\"${local.bad_endings}\"}", local.of_all.calls_ended, tostring(var.alert_limits.bad_calls_percent / 100), 3)
        }
      }
    }
    vendor = {
      title    = "A vendor fails"
      severity = "ERROR"
      about    = "OpenAI, AmiVoice or Twilio do not do what they are asked, after our own further tries."
      events   = local.counted.vendor_failures.events
      rules = {
        "too many failures of vendors" = {
          query = format(local.too_many, local.of_all.vendor_failures, local.of_all.turns, "0.03", 5)
        }
      }
    }
    interruptions = {
      title    = "Connections break in mid-call"
      severity = "WARNING"
      about    = "Streams or vendors' sessions of running calls break. Each is replaced, which the caller hears as a pause."
      events   = local.counted.interruptions.events
      rules = {
        "too many connections broke" = {
          query = format(local.too_many, local.of_all.interruptions, local.of_all.streams_opened, "0.1", 5)
        }
      }
    }
    capacity = {
      title    = "Callers are turned away"
      severity = "CRITICAL"
      about    = "All instances that may run are full. A caller hears an apology, or Twilio's error message."
      events   = ["handshake refused"]
      rules = {
        "requests refused for want of an instance" = {
          query = "sum by (service_name) (increase(run_googleapis_com:request_count{${local.promql_run},service_name=~\"${local.webhooks}|${local.stream_name}\",response_code=\"429\"}[10m])) > 0"
        }
        "streams refused by a full instance" = {
          query = "sum(increase(${local.series.refused}{${local.promql_run},event=\"handshake refused\",reason=\"no capacity\"}[10m])) > 0"
        }
      }
    }
    overload = {
      title    = "The stream service is nearly full"
      severity = "WARNING"
      about    = "Audio is late when its instance has no CPU left, all of an instance's calls break when it has no memory left, and callers are turned away when no further instance may start."
      events   = ["handshake refused", "stream lost"]
      rules = merge(
        {
          for what in ["cpu", "memory"] : "${what} of an instance" => {
            query = "histogram_quantile(0.99, sum by (le) (increase(run_googleapis_com:container_${what}_utilizations_bucket{${local.promql_run},service_name=\"${local.stream_name}\"}[5m]))) > 0.85"
            hold  = "300s"
          }
        },
        # With as many kept ready as may run, there is nothing to tell.
        var.stream_max_instances == var.stream_min_instances ? {} : {
          "as many instances as may run" = {
            query = "sum(run_googleapis_com:container_instance_count{${local.promql_run},service_name=\"${local.stream_name}\"}) >= ${var.stream_max_instances}"
            hold  = "600s"
          }
        },
      )
    }
    store = {
      title    = "The call store loses writes"
      severity = "CRITICAL"
      about    = "What happened in calls was not written down. Calls themselves go on."
      events   = local.counted.store_failures.events
      rules = {
        "a write was lost" = {
          query = "sum(increase(${local.series.store_failures}{${local.promql_run},event=\"store write lost\"}[10m])) > 0"
        }
        "the store is not reached" = {
          query = "sum(increase(${local.series.store_failures}{${local.promql_run},event=\"store down\"}[10m])) > 4.5"
        }
      }
    }
    refused = {
      title    = "Requests are refused"
      severity = "WARNING"
      about    = "Either the addresses or the auth token that Twilio uses are not ours, and then no call works; or somebody knocks."
      events   = concat(local.counted.refused.events, local.counted.trigger_refused.events)
      rules = {
        # A right signature under a wrong address, or the other way round. A stranger has no signature at all.
        "Twilio itself is refused" = {
          query = join("", [
            "sum(increase(${local.series.refused}{${local.promql_run},reason=~\"wrong signature|bad ticket.*\"}[1h])) > 1.5",
            " and sum(increase(${local.series.refused}{${local.promql_run},reason=~\"wrong signature|bad ticket.*\"}[1h])) > (sum(increase(${local.of_all.calls_started}[1h])) or vector(0))",
          ])
        }
        "somebody knocks" = {
          query = "(sum(increase(${local.of_all.refused}[10m])) or vector(0)) + (sum(increase(${local.of_all.trigger_refused}[10m])) or vector(0)) > 100"
        }
      }
    }
    spend = {
      title    = "The day's spend is high"
      severity = "WARNING"
      about    = "Twilio, OpenAI and AmiVoice together cost more than ${var.alert_limits.spend_per_day} US dollars within 24 hours, by the prices in prices.tf${local.price_doubt}."
      events   = ["call usage", "call ended"]
      rules = {
        "spend of 24 hours" = {
          query = "${replace(local.spend, "WINDOW", "1d")} > ${var.alert_limits.spend_per_day}"
        }
      }
    }
    unreachable = {
      title    = "It cannot be reached"
      severity = "CRITICAL"
      about    = "Two of the three places that ask every five minutes get no right answer: nobody can be called or answered."
      events   = ["relay failed", "webhook failed"]
      rules    = {} # the uptime checks' own condition
    }
  }

  log_link = {
    for name, alert in local.alerts : name => format(
      "https://console.cloud.google.com/logs/query;query=%s?project=%s",
      # urlencode() writes a space as a plus, which is one only behind a question mark.
      replace(urlencode("${local.log_of.either} AND jsonPayload.event=(${join(" OR ", formatlist("\"%s\"", alert.events))})"), "+", "%20"),
      var.project,
    )
  }
}

resource "google_monitoring_notification_channel" "operator_email" {
  display_name = "${local.prefix} operator"
  description  = "Whoever operates ${local.prefix}: alerts and the budget write here."
  type         = "email"
  labels       = { email_address = var.alert_email }
  user_labels  = local.labels
  depends_on   = [google_project_service.apis]
}

resource "google_monitoring_alert_policy" "this" {
  for_each              = local.alerts
  display_name          = "${local.prefix}: ${each.value.title}"
  severity              = each.value.severity
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.operator_email.id]
  user_labels           = merge(local.labels, { alert = each.key })

  dynamic "conditions" {
    for_each = each.value.rules
    content {
      display_name = conditions.key
      condition_prometheus_query_language {
        query                     = conditions.value.query
        duration                  = lookup(conditions.value, "hold", "0s")
        evaluation_interval       = "60s"
        disable_metric_validation = true
      }
    }
  }

  dynamic "conditions" {
    for_each = each.key == "unreachable" ? google_monitoring_uptime_check_config.this : {}
    content {
      display_name = "uptime check: ${conditions.value.display_name}"
      condition_threshold {
        filter = join(" AND ", [
          "metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\"",
          "metric.labels.check_id=\"${conditions.value.uptime_check_id}\"",
          "resource.type=\"uptime_url\"",
        ])
        comparison      = "COMPARISON_GT"
        threshold_value = 1
        duration        = "60s"
        aggregations {
          alignment_period     = "600s"
          per_series_aligner   = "ALIGN_NEXT_OLDER"
          cross_series_reducer = "REDUCE_COUNT_FALSE"
          group_by_fields      = ["resource.label.host"]
        }
        trigger {
          count = 1
        }
      }
    }
  }

  alert_strategy {
    # With nothing more counted the rule gives no value at all, which by itself closes nothing.
    auto_close = "3600s"

    # What stops calls is told again until it is mended.
    dynamic "notification_channel_strategy" {
      for_each = each.value.severity == "CRITICAL" ? [true] : []
      content {
        notification_channel_names = [google_monitoring_notification_channel.operator_email.id]
        renotify_interval          = "14400s"
      }
    }
  }

  documentation {
    subject   = "${local.prefix}: ${each.value.title}"
    mime_type = "text/markdown"
    content   = "${each.value.about}\n\nWhat to do: infra/README.md, section \"Alert: ${each.key}\"."

    links {
      display_name = "Log lines"
      url          = local.log_link[each.key]
    }
    links {
      display_name = "Dashboard"
      url          = local.dashboard_url
    }
  }

  depends_on = [google_logging_metric.counted, google_logging_metric.measured]
}
