"""Which individual, and how many: from tracks and from voices."""
