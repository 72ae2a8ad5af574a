"""What more than one service needs: contracts, log, journal, runtime, replay, HTTP, telemetry."""
