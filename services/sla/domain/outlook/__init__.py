"""What may come: new rules tried on the past and the present, how likely a breach is."""
