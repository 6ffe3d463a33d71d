"""A plan made into the document that Twilio gets: addresses, tickets and the agent's voice are added here.

What the plan is, is decided in `flow.py`; how a verb is written is `twiml.py`'s.
"""

from callbot import tickets, twiml
from callbot.addresses import function_url
from callbot.agents import Agent
from callbot.calls import Call
from callbot.flow import DialHuman, GoOn, HangUp, OpenStream, Plan, flow_url, listen
from callbot.settings import Settings


def document(plan: Plan, call: Call, agent: Agent, settings: Settings, *, record: bool = False) -> str:
    """The TwiML for `plan`; with `record`, Twilio records the call from here on."""
    match plan.then:
        case GoOn(step, params, seconds):
            url = flow_url(settings.functions_url, step, **params)
            if seconds is None:
                return twiml.say_then_continue(agent, plan.say, url)
            return twiml.say_and_listen(agent, plan.say, url, seconds)
        case OpenStream():
            return _with_stream(plan.say, plan.then, call, agent, settings, record=record)
        case DialHuman(target, number, stop):
            ours = call.to if call.direction == "inbound" else call.from_
            generation = call.stream.generation
            return twiml.dial(
                agent,
                plan.say,
                number,
                caller_id=ours,
                action=flow_url(settings.functions_url, "transferred", target=target, generation=generation),
                stop=twiml.stream_name(stop) if stop else "",
            )
        case HangUp():
            return twiml.hang_up(agent, plan.say)


def _with_stream(
    say: tuple[str, ...], opened: OpenStream, call: Call, agent: Agent, settings: Settings, *, record: bool
) -> str:
    ticket = tickets.Ticket(call.sid, opened.generation, call.agent, call.engine, settings.functions_url)
    # How many streams came to nothing travels with the stream, so that its loss is counted without the store.
    failures = {"failures": opened.failures} if opened.failures else {}
    events = function_url(settings.functions_url, "call-events")
    stream = twiml.MediaStream(
        url=settings.stream_url,
        generation=opened.generation,
        ticket=tickets.issue(ticket, settings.stream_ticket_secret),
        status_callback=f"{events}?failures={opened.failures}" if opened.failures else events,
        variables=call.variables,
    )
    recording = events if record else ""
    if call.engine == "realtime":
        after = flow_url(settings.functions_url, "resume", generation=opened.generation, **failures)
        return twiml.connect(agent, say, stream, after, recording_callback=recording)
    # The first stream's generation goes without saying.
    expected = {"generation": opened.generation, **failures} if opened.generation > 1 else failures
    then = opened.then or listen(0, **expected)
    return twiml.fork(
        agent,
        say,
        stream,
        flow_url(settings.functions_url, then.step, **then.params),
        pause=then.seconds is not None,
        wait_first=opened.failures > 0,
        stop=twiml.stream_name(opened.stop) if opened.stop else "",
        recording_callback=recording,
    )
