"""An invented world of short film reviews whose gold score is known, and judges who read it with noise."""
