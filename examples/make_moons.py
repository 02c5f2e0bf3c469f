"""Write moons.csv: two interleaved half circles with noise, as an example of one's own data.

    python -m examples.make_moons

The same file each time; 400 lines `x,y,label` with the labels "upper" and "lower".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mgd.golden_model.seeds import words

SAMPLES = 400
NOISE = 0.1
SEED = 1


def main() -> None:
    random = words(4 * SAMPLES, SEED, "data").astype(np.float64).reshape(4, SAMPLES) / 2.0**64
    # A sum of uniform numbers is near enough to a normal one and needs no library's generator.
    angle, noise_x, noise_y = np.pi * random[0], random[1] - 0.5, random[2] + random[3] - 1.0
    upper = np.arange(SAMPLES) % 2 == 0
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle)) + 3 * NOISE * noise_x
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle)) + 2 * NOISE * noise_y
    lines = ["x,y,label"]
    for a, b, label in zip(x, y, np.where(upper, "upper", "lower"), strict=True):
        lines.append(f"{a:.4f},{b:.4f},{label}")
    (Path(__file__).parent / "moons.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
