"""What every service process needs: settings, logging, signals, a clean exit."""
