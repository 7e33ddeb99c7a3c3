"""Pages on which an insurer's desk looks into claims, and a hospital's desk answers what insurers ask about them."""
