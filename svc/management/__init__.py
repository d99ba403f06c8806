"""`svc engine`: sends management requests directly to the engines, bypassing the router."""
