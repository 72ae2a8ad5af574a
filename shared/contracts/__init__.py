"""The published language: every event, its writer, its topic, its versions."""
