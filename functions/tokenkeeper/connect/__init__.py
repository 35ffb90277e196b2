"""The public function: it redeems authorization codes and stores grants."""
