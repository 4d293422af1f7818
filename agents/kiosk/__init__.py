"""The REST interface of Fully Kiosk Browser: one request, and what a tablet says of itself."""
