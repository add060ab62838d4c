"""The large world: the policy that users run, driven by an event heap over a fluid model of access links."""
