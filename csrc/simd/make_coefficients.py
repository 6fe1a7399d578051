"""Write fm_coefficients.h: the constants and minimax polynomials of fm_math.body.h.

    python csrc/simd/make_coefficients.py > csrc/simd/fm_coefficients.h

Needs mpmath. The output is the same on every machine: all arithmetic is done with 60 digits,
then each coefficient is rounded once, to float and to double. The largest error of each
approximation, with the rounded coefficients but exact arithmetic, is written beside it.
"""

from mpmath import mp, mpf

mp.dps = 60

DTYPES = {"f32": ("float", 24, 8), "f64": ("double", 53, 11)}  # name, bits, bits of an exponent


def chebyshev_points(low, high, count):
    """Extrema of the Chebyshev polynomial of degree count - 1 on [low, high], ascending."""
    middle, half = (high + low) / 2, (high - low) / 2
    return [middle - half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]


def horner(coefficients, x):
    """Sum of coefficients[i] * x**i."""
    value = mpf(0)
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value


def remez(function, weight, low, high, count):
    """Coefficients c[0..count-1] that minimise the largest weight * |function - polynomial|.

    The exchange algorithm on a fixed grid of Chebyshev points: minimax to within the grid.
    """
    # An even number of points: the middle, where a weight may vanish, is none of them.
    grid = chebyshev_points(mpf(low), mpf(high), 40 * count + 4)[1:-1]
    values = [function(x) for x in grid]
    weights = [weight(x) for x in grid]
    reference = [40 * i for i in range(count + 1)]
    scale = max(abs(low), abs(high))
    level = max(weights)
    coefficients = None
    for _ in range(12):
        rows = mp.matrix(count + 1, count + 1)
        right = mp.matrix(count + 1, 1)
        for row, point in enumerate(reference):
            for column in range(count):
                rows[row, column] = weights[point] * (grid[point] / scale) ** column
            rows[row, count] = (-1) ** row * level
            right[row] = weights[point] * values[point]
        solution = mp.lu_solve(rows, right)
        coefficients = [solution[i] / scale**i for i in range(count)]
        errors = [
            w * (v - horner(coefficients, x)) for x, v, w in zip(grid, values, weights, strict=True)
        ]
        # The largest point of each run of one sign; keep count + 1 neighbouring runs.
        runs = [0]
        for i in range(1, len(grid)):
            if (errors[i] > 0) != (errors[runs[-1]] > 0):
                runs.append(i)
            elif abs(errors[i]) > abs(errors[runs[-1]]):
                runs[-1] = i
        while len(runs) > count + 1:
            runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
        if len(runs) < count + 1 or runs == reference:
            break
        reference = runs
    return coefficients


def rational(function, low, high, top, bottom):
    """Coefficients of P (top of them) and Q (bottom, the first 1) with P / Q near function.

    Interpolates at the Chebyshev nodes, within a small factor of the minimax error.
    """
    count = top + bottom - 1
    middle, half = (mpf(high) + low) / 2, (mpf(high) - low) / 2
    nodes = [middle - half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    rows = mp.matrix(count, count)
    right = mp.matrix(count, 1)
    for row, x in enumerate(nodes):
        value = function(x)
        for i in range(top):
            rows[row, i] = x**i
        for i in range(1, bottom):
            rows[row, top + i - 1] = -value * x**i
        right[row] = value
    solution = mp.lu_solve(rows, right)
    return [solution[i] for i in range(top)], [mpf(1)] + [solution[i] for i in range(top, count)]


def rounded(x, bits):
    """x to the nearest number of that many bits."""
    with mp.workprec(bits):
        return +mpf(x)


def literal(x, dtype):
    """A C hexadecimal literal."""
    mantissa, exponent = float(x).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}" + ("f" if dtype == "f32" else "")


def worst(error, low, high):
    """log2 of the largest |error| over a fine grid of the open interval."""
    points = chebyshev_points(mpf(low), mpf(high), 1500)[1:-1]
    return float(mp.log(max(abs(error(x)) for x in points), 2))


def mills(t):
    """Phi(-t) * exp(t^2 / 2)."""
    return mp.erfc(t / mp.sqrt(2)) * mp.exp(t * t / 2) / 2


class Header:
    """Collects the lines of fm_coefficients.h."""

    def __init__(self):
        self.lines = []

    def scalar(self, name, dtype, value, comment=""):
        c_type = DTYPES[dtype][0]
        note = f" /* {comment} */" if comment else ""
        self.lines.append(
            f"static const {c_type} fm_{name}_{dtype} = {literal(value, dtype)};{note}"
        )

    def array(self, name, dtype, values, comment):
        c_type = DTYPES[dtype][0]
        self.lines.append(f"/* {comment} */")
        self.lines.append(f"static const {c_type} fm_{name}_{dtype}[] = {{")
        self.lines.extend(f"    {literal(value, dtype)}," for value in values)
        self.lines.append("};")


def write_dtype(header, dtype, plan):
    """All constants of one dtype."""
    _, bits, exponent_bits = DTYPES[dtype]

    def fit(values):
        return [rounded(value, bits) for value in values]

    ln2 = mp.log(2)
    high = rounded(ln2, bits - exponent_bits)
    header.lines.append(f"\n/* ---- {dtype} ---- */\n")
    header.scalar("log2e", dtype, rounded(1 / ln2, bits))
    header.scalar("ln2_high", dtype, high, "times an exponent: exact")
    header.scalar("ln2_low", dtype, rounded(ln2 - high, bits))
    header.scalar("inverse_sqrt_2pi", dtype, rounded(1 / mp.sqrt(2 * mp.pi), bits))

    # exp(r) = 1 + r + r^2 q(r)
    edge = ln2 / 2 * mpf("1.001")
    q = fit(
        remez(
            lambda r: (mp.expm1(r) - r) / r**2,
            lambda r: r**2 / mp.exp(r),
            -edge,
            edge,
            plan["exp"],
        )
    )
    error = worst(lambda r: (1 + r + r * r * horner(q, r)) / mp.exp(r) - 1, -edge, edge)
    header.array("exp", dtype, q, f"(exp(r) - 1 - r) / r^2, |r| < ln(2) / 2: 2^{error:.1f} of exp")

    # log(1 + f) = 2 atanh(s), s = f / (2 + f); 2 atanh(s) = 2 s + s^3 l(s^2)
    edge = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mpf("1.001")
    coefficients = fit(
        remez(
            lambda z: (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z,
            lambda z: z,
            mpf(10) ** -9,
            edge,
            plan["log"],
        )
    )
    error = worst(
        lambda z: (2 + z * horner(coefficients, z)) / (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z)) - 1,
        mpf(10) ** -9,
        edge,
    )
    header.array(
        "log", dtype, coefficients, f"(2 atanh(s) / s - 2) / z, z = s^2 < 0.0295: 2^{error:.1f}"
    )

    # tanh(x) = x + x z p(z) / q(z), z = x^2
    edge = plan["tanh_edge"]
    header.scalar("tanh_edge", dtype, edge)
    tiny = mpf(10) ** -9

    def tanh_part(z):
        x = mp.sqrt(z)
        return (mp.tanh(x) / x - 1) / z

    top, bottom = rational(tanh_part, tiny, mpf(edge) ** 2, *plan["tanh"])
    top, bottom = fit(top), fit(bottom)
    error = worst(
        lambda z: (
            (1 + z * horner(top, z) / horner(bottom, z)) * mp.sqrt(z) / mp.tanh(mp.sqrt(z)) - 1
        ),
        tiny,
        mpf(edge) ** 2,
    )
    header.array(
        "tanh_top",
        dtype,
        top,
        f"(tanh(x) / x - 1) / z = top / bottom, z = x^2, x < {edge}: 2^{error:.1f} of tanh",
    )
    header.array("tanh_bottom", dtype, bottom, "its denominator")

    # Phi(-t) exp(t^2 / 2) = g(v) / (t + k), v = (t - k) / (t + k)
    k, limit = mpf(plan["cdf_k"]), mpf(plan["cdf_limit"])
    header.scalar("cdf_k", dtype, k)
    header.scalar("cdf_limit", dtype, limit, "Phi(-limit) is zero")

    def scaled(v):
        t = k * (1 + v) / (1 - v)
        return mills(t) * (t + k)

    edge = (limit - k) / (limit + k)
    g = fit(remez(scaled, lambda v: 1 / scaled(v), -1, edge, plan["cdf"]))
    error = worst(lambda v: horner(g, v) / scaled(v) - 1, -1, edge)
    header.array(
        "cdf",
        dtype,
        g,
        f"Phi(-t) exp(t^2 / 2) (t + k), v = (t - k) / (t + k), 0 <= t <= limit: 2^{error:.1f}",
    )


PLANS = {
    "f32": {
        "exp": 5,
        "log": 4,
        "tanh": (2, 3),
        "tanh_edge": 1.0,
        "cdf": 10,
        "cdf_k": 3.0,
        "cdf_limit": 15.0,
    },
    "f64": {
        "exp": 10,
        "log": 7,
        "tanh": (4, 4),
        "tanh_edge": 1.0,
        "cdf": 22,
        "cdf_k": 4.0,
        "cdf_limit": 39.0,
    },
}


def main():
    header = Header()
    for dtype, plan in PLANS.items():
        write_dtype(header, dtype, plan)
    print(
        "/* Generated by make_coefficients.py; do not edit.\n"
        " *\n"
        " *     python csrc/simd/make_coefficients.py > csrc/simd/fm_coefficients.h\n"
        " *\n"
        " * Polynomials list their coefficients from the constant up; 2^-n is the largest\n"
        " * relative error of the approximation with these coefficients in exact arithmetic. */\n"
        "#ifndef FM_COEFFICIENTS_H\n"
        "#define FM_COEFFICIENTS_H"
    )
    print("\n".join(header.lines))
    print("\n#endif")


if __name__ == "__main__":
    main()
