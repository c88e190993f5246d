"""Every line of squares.txt is a number and its square."""

import unittest
from pathlib import Path


class Squares(unittest.TestCase):
    def test_every_line(self):
        for line in Path("squares.txt").read_text().splitlines():
            number, square = map(int, line.split())
            with self.subTest(number=number):
                self.assertEqual(square, number * number, f"the square of {number}")

    def test_the_order(self):
        numbers = [int(line.split()[0]) for line in Path("squares.txt").read_text().splitlines()]
        self.assertEqual(numbers, sorted(numbers))


if __name__ == "__main__":
    unittest.main()
