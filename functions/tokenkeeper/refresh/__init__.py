"""The private function: one run keeps every stored token working."""
