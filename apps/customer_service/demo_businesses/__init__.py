"""A shop, a restaurant and a clinic behind HTTP, so that the demo's actions are real calls. They are
no part of Praxis."""
