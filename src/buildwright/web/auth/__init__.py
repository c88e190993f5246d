"""Who asks, and what they may: tokens, logins, sessions, and the one gate that every request passes."""
