"""A small shop behind HTTP, so that the demo's actions are real calls. It is no part of Praxis."""
