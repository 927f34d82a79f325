"""Everything done with a key: seal, open, sign, check, digest, key files.

The only room that imports nacl. No home-made crypto: XChaCha20-Poly1305, X25519
sealed boxes, Ed25519, HMAC-SHA-256, HKDF. Each purpose has its own key or its
own label, so that bytes made for one can never serve for another.
"""
