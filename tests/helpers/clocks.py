"""A drawn clock, which networks trained on ImageNet recognise."""

import cv2
import numpy as np

ANALOG_CLOCK, WALL_CLOCK = 409, 892  # of ImageNet's thousand


def clock():
    """(224, 224, 3) uint8, RGB: a round face with twelve hours, ten past ten or so."""
    image = np.full((224, 224, 3), (150, 120, 90), np.uint8)
    cv2.circle(image, (112, 112), 90, (255, 255, 250), -1, cv2.LINE_AA)
    cv2.circle(image, (112, 112), 90, (40, 30, 20), 8, cv2.LINE_AA)
    for hour in range(1, 13):
        turn = np.pi * hour / 6
        at = (round(105 + 70 * np.sin(turn)), round(118 - 70 * np.cos(turn)))
        cv2.putText(image, str(hour), at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (20, 20, 20), 2, cv2.LINE_AA)
    cv2.line(image, (112, 112), (75, 90), (0, 0, 0), 6, cv2.LINE_AA)
    cv2.line(image, (112, 112), (140, 60), (0, 0, 0), 4, cv2.LINE_AA)
    return image
