"""The REST interface of FreeKiosk: one request, and what a tablet says of itself."""
