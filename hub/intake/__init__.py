"""MQTT to use case: acknowledge after the commit."""
