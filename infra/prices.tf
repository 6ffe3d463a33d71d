# What a call costs at Twilio, OpenAI and AmiVoice: the prices, and the sums that the dashboard and the spend alert show.
# Google's own bill is budget.tf's. A price list is never right for long: compare the spend shown with the first invoice,
# and set `prices` where it differs.

locals {
  # usd for `per` of what these usage fields count, before tax where not said otherwise. Read in November 2026:
  #   OpenAI       developers.openai.com/api/docs/models, the pages of gpt-realtime-2.1-mini and gpt-transcribe; gpt-5.4-mini
  #                as others quote it
  #   Twilio       twilio.com/en-us/voice/pricing/jp, as others quote it (October 2026); say_100_characters was not found
  #                there and is an assumption, as is that most outbound calls go to mobile phones (0.0746 to fixed lines)
  #   AmiVoice     acp.amivoice.com/amivoice_api/price, as others quote it since the change of October 2025: 158.4 yen
  #                an hour of speech without logging, tax included; at 150 yen a dollar, which is an assumption
  # cut...: tokens of answers that were cut off before OpenAI told what they cost; the code's estimate.
  price_list = {
    chat_text_in     = { usd = 0.75, per = 1000000, engine = "amivoice", usage = ["textTokensIn", "cutTextTokensIn"] }
    chat_text_cached = { usd = 0.075, per = 1000000, engine = "amivoice", usage = ["cachedTextTokensIn"] }
    chat_text_out    = { usd = 4.50, per = 1000000, engine = "amivoice", usage = ["textTokensOut", "cutTextTokensOut"] }

    realtime_text_in      = { usd = 0.60, per = 1000000, engine = "realtime", usage = ["textTokensIn"] }
    realtime_text_cached  = { usd = 0.06, per = 1000000, engine = "realtime", usage = ["cachedTextTokensIn"] }
    realtime_text_out     = { usd = 2.40, per = 1000000, engine = "realtime", usage = ["textTokensOut"] }
    realtime_audio_in     = { usd = 10.00, per = 1000000, engine = "realtime", usage = ["audioTokensIn"] }
    realtime_audio_cached = { usd = 0.30, per = 1000000, engine = "realtime", usage = ["cachedAudioTokensIn"] }
    realtime_audio_out    = { usd = 20.00, per = 1000000, engine = "realtime", usage = ["audioTokensOut"] }

    # OpenAI charges gpt-transcribe by the minute. A model that reports tokens instead is counted by them: ten for a second
    # of audio, so this is the same price. Of one that is charged for its text too, transcribe_out is to be set.
    transcribe_minute = { usd = 0.0045, per = 60, engine = "realtime", usage = ["transcriptSeconds"] }
    transcribe_in     = { usd = 7.50, per = 1000000, engine = "realtime", usage = ["transcriptTokensIn"] }
    transcribe_out    = { usd = 0, per = 1000000, engine = "realtime", usage = ["transcriptTokensOut"] }

    recognition_hour   = { usd = 1.056, per = 3600, engine = "amivoice", usage = ["recognitionSeconds"] }
    say_100_characters = { usd = 0.0032, per = 100, engine = "amivoice", usage = ["saidCharacters"] }

    # Twilio charges begun minutes, of each stream and of each call.
    stream_minute   = { usd = 0.0044, minutes = "usage_seconds" }
    inbound_minute  = { usd = 0.0100, minutes = "call_seconds", direction = "inbound" }
    outbound_minute = { usd = 0.1850, minutes = "call_seconds", direction = "outbound" }
  }
  prices = { for name, price in local.price_list : name => lookup(var.prices, name, price.usd) }

  # What was counted, times the price of one, in PromQL; WINDOW is put in where it is used. Of begun minutes there are half
  # a minute more than was talked, on average. Not in it: the numbers' monthly rent, recordings, the second leg of a
  # transfer, the detection of answering machines, and the few words that the functions say themselves.
  spend_terms = {
    for name, price in local.price_list : name => join(" + ", can(price.minutes) ? [
      format(
        "(sum(increase(%[1]s_sum{%[2]s}[WINDOW])) / 60 + sum(increase(%[1]s_count{%[2]s}[WINDOW])) / 2 or vector(0)) * %[3]s",
        local.series[price.minutes],
        can(price.direction) ? "${local.promql_run},direction=\"${price.direction}\"" : local.promql_run,
        local.prices[name],
      )
      ] : [
      for usage in price.usage : format(
        "(sum(increase(%s_sum{%s,engine=\"%s\"}[WINDOW])) or vector(0)) * %s / %d",
        local.series["usage_${local.snake[usage]}"], local.promql_run, price.engine, local.prices[name], price.per,
      )
    ])
    if local.prices[name] > 0
  }

  # One sum for each vendor, to be compared with its invoices.
  spend_of = {
    for vendor, names in {
      AmiVoice = ["recognition_hour"]
      OpenAI   = [for name in keys(local.price_list) : name if can(regex("^(chat|realtime|transcribe)_", name))]
      Twilio   = ["inbound_minute", "outbound_minute", "say_100_characters", "stream_minute"]
    } : vendor => join(" + ", concat(["vector(0)"], [for name in names : local.spend_terms[name] if can(local.spend_terms[name])]))
  }
  spend = join(" + ", values(local.spend_of))

  # Another model is set and none of its prices: the spend would be told at the old model's, so it is told with this word.
  price_doubt = anytrue([
    for setting, prefix in {
      OPENAI_CHAT_MODEL       = "chat_"
      OPENAI_REALTIME_MODEL   = "realtime_"
      OPENAI_TRANSCRIBE_MODEL = "transcribe_"
    } : contains(keys(var.settings), setting) && !anytrue([for name in keys(var.prices) : startswith(name, prefix)])
  ]) ? " (set prices!)" : ""
}
