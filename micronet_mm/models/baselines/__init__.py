"""Networks that MicroNet is compared with."""
