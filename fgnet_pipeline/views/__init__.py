"""Views: pictures of a result in a browser."""
