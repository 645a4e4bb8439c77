"""Line integrals of a specimen's potential along the beam, added to an image where each body lies.

Every `add_…` function adds to `image`, a `(rows, columns)` float32 array of projected potential in V nm whose pixel
`(i, j)` is centred at `(i, j) * pixel_nm`. The beam runs along the third axis, so a body's place is `(row, column)` in
nm and its directions are unit vectors `(row, column, beam)`. A body that the image cuts is cut, never wrapped.

Shells are sums of solid ellipsoids, whose line integrals are known in closed form: a density that changes by steps
from shell to shell is the sum of its steps, each times one solid. Bodies of revolution (pears, tubes, stomatocytes)
are marched through instead, with the signed distance to their surface as the length of a safe step.
"""

import math

import numpy as np
from numba import njit

# Length of a step along the beam inside a body, in nm. A sum over a Gaussian peak, as head groups are (sigma 0.4 nm or
# more with the pixel's blur), differs from its integral by 2 exp(-2 (pi sigma / step)^2), here 0.002 at the worst.
STEP_NM = 0.65
TABLE_NM = 1.0  # spacing of the table of distances to a surface of revolution; they are smooth


@njit(cache=True, nogil=True, fastmath=True)
def _span(middle_nm, reach_nm, pixel_nm, count):
    """Return the first pixel and the one after the last, of `count`, that lie within `reach_nm` of `middle_nm`."""
    first = max(0, math.ceil((middle_nm - reach_nm) / pixel_nm))
    return first, max(first, min(count - 1, math.floor((middle_nm + reach_nm) / pixel_nm)) + 1)


def ellipsoids(center, axes, rotation, weights):
    """Return concentric solid ellipsoids as `add_ellipsoids` takes them; overlapping solids add up.

    `axes` (n, 3) are half axes in nm along the columns of `rotation`, `weights` (n,) or one potential in V. A row holds the
    centre's row and column, the quadratic form Q of the outline (row-row, row-column, column-column, in 1/nm²), and the
    projected potential at the centre. Inside xᵀ M x < 1 a ray along the beam runs 2 sqrt((1 − Q(row, column)) / M_bb),
    where Q is the Schur complement of the beam's entry of M.
    """  # (n, 6)
    form = np.einsum("ij,nj,kj->nik", rotation, 1.0 / axes**2, rotation)
    along = form[:, 2, 2]
    rr = form[:, 0, 0] - form[:, 0, 2] ** 2 / along
    rc = form[:, 0, 1] - form[:, 0, 2] * form[:, 1, 2] / along
    cc = form[:, 1, 1] - form[:, 1, 2] ** 2 / along
    places = np.broadcast_to(center, (len(axes), 2))
    return np.column_stack([places, rr, rc, cc, 2.0 * weights / np.sqrt(along)])


@njit(cache=True, nogil=True, fastmath=True)
def add_ellipsoids(image, pixel_nm, solids):
    """Add the projections of solid ellipsoids to `image`; `solids` is what `ellipsoids` returns."""
    rows, columns = image.shape
    for n in range(solids.shape[0]):
        row, column, rr, rc, cc, height = solids[n]
        top, bottom = _span(row, math.sqrt(cc / (rr * cc - rc * rc)), pixel_nm, rows)
        for i in range(top, bottom):
            y = i * pixel_nm - row
            # The columns where the outline's quadratic form stays below 1.
            root = rc * rc * y * y - cc * (rr * y * y - 1.0)
            if root <= 0.0:
                continue
            left, right = _span(column - rc * y / cc, math.sqrt(root) / cc, pixel_nm, columns)
            base, cross = 1.0 - rr * y * y, 2.0 * rc * y
            for j in range(left, right):
                x = j * pixel_nm - column
                image[i, j] += height * math.sqrt(max(0.0, base - x * (cross + cc * x)))


@njit(cache=True, nogil=True, fastmath=True)
def add_shells(image, pixel_nm, solids, warp):
    """Add the projections of ellipsoids around one place, the largest first, their outlines undulating.

    `warp` holds the weights of cos 3θ, sin 3θ, cos 4θ, sin 4θ, cos 5θ and sin 5θ, with θ from the columns' axis to the
    rows' about the first solid's place; they sum to δ(θ), and what lay at distance r lies at r (1 + δ). Modes 0 to 2
    are size, place and ellipse. Bilayers are stretched by δ only, so they keep their thickness.
    """
    rows, columns = image.shape
    row, column, rr, rc, cc, _ = solids[0]
    slack = 1.0 + np.abs(warp).sum()
    top, bottom = _span(row, slack * math.sqrt(cc / (rr * cc - rc * rc)), pixel_nm, rows)
    left, right = _span(column, slack * math.sqrt(rr / (rr * cc - rc * rc)), pixel_nm, columns)
    # Three arrays: views of one would keep the compiler from vectorising.
    wide = right - left
    xs, ys, total = np.empty(wide, np.float32), np.empty(wide, np.float32), np.empty(wide, np.float32)
    w = warp.astype(np.float32)
    one = np.float32(1.0)
    for i in range(top, bottom):
        y = np.float32(i * pixel_nm - row)
        for j in range(len(xs)):
            x = np.float32((left + j) * pixel_nm - column)
            r = one / math.sqrt(x * x + y * y + np.float32(1e-6))
            u, v = x * r, y * r
            u2, v2 = u * u - v * v, np.float32(2.0) * u * v
            u3, v3 = u2 * u - v2 * v, u2 * v + v2 * u
            u4, v4 = u2 * u2 - v2 * v2, np.float32(2.0) * u2 * v2
            u5, v5 = u4 * u - v4 * v, u4 * v + v4 * u
            back = one / (one + w[0] * u3 + w[1] * v3 + w[2] * u4 + w[3] * v4 + w[4] * u5 + w[5] * v5)
            xs[j], ys[j], total[j] = x * back, y * back, 0.0
        for n in range(solids.shape[0]):
            dy, dx = np.float32(solids[n, 0] - row), np.float32(solids[n, 1] - column)
            a, b, c = np.float32(solids[n, 2]), np.float32(2.0 * solids[n, 3]), np.float32(solids[n, 4])
            height = np.float32(solids[n, 5])
            for j in range(len(xs)):
                u, v = xs[j] - dx, ys[j] - dy
                inside = one - a * v * v - b * u * v - c * u * u
                total[j] += height * math.sqrt(max(np.float32(0.0), inside))
        for j in range(len(xs)):
            image[i, left + j] += total[j]


@njit(cache=True, nogil=True, fastmath=True)
def distances(curve, closed, radius_nm):
    """Return a table of the distances to the surface that a meridian sweeps around its axis, in nm.

    `curve` (m, 2) is a polyline of (distance from the axis, height); where the surface is `closed`, distances inside
    are negative. Entry (i, j) is the distance at `(i, j - (nh - 1) / 2) * TABLE_NM`, out to `radius_nm` in both.
    """  # (nr, nh)
    radial = math.ceil(radius_nm / TABLE_NM) + 2
    table = np.empty((radial, 2 * radial - 1), np.float32)
    for i in range(radial):
        for j in range(2 * radial - 1):
            r, h = i * TABLE_NM, (j - radial + 1) * TABLE_NM
            nearest, inside = 1e30, False
            for m in range(curve.shape[0] - 1):
                r0, h0, r1, h1 = curve[m, 0], curve[m, 1], curve[m + 1, 0], curve[m + 1, 1]
                dr, dh = r1 - r0, h1 - h0
                t = ((r - r0) * dr + (h - h0) * dh) / (dr * dr + dh * dh + 1e-12)
                t = min(1.0, max(0.0, t))
                nearest = min(nearest, (r - r0 - t * dr) ** 2 + (h - h0 - t * dh) ** 2)
                if (h0 > h) != (h1 > h) and r < r0 + (h - h0) / dh * dr:
                    inside = not inside
            nearest = math.sqrt(nearest)
            table[i, j] = -nearest if inside and closed else nearest
    return table


@njit(cache=True, nogil=True, fastmath=True)
def add_revolution(image, pixel_nm, place, axis, extent, table, profile, lowest, spacing):
    """Add the projection of a body of revolution whose potential depends on the distance to its surface.

    Nothing is added beyond `extent`, half the extent along rows, columns and beam. `table` comes from `distances`;
    `profile` holds the potential in V at distances from `lowest` on in steps of `spacing`, and is 0 elsewhere.
    """
    rows, columns = image.shape
    radial = table.shape[0]
    highest = lowest + spacing * (profile.shape[0] - 1)
    tall, wide, deep = extent
    top, bottom = _span(place[0], tall, pixel_nm, rows)
    left, right = _span(place[1], wide, pixel_nm, columns)
    for i in range(top, bottom):
        y = i * pixel_nm - place[0]
        for j in range(left, right):
            x = j * pixel_nm - place[1]
            off = y * y + x * x
            base = y * axis[0] + x * axis[1]
            total, z = 0.0, -deep
            while z < deep:
                h = base + z * axis[2]
                r = math.sqrt(max(0.0, off + z * z - h * h)) / TABLE_NM
                h = h / TABLE_NM + radial - 1
                a, b = min(int(r), radial - 2), min(max(int(h), 0), 2 * radial - 3)
                # Beyond the table its last cell is continued, which keeps the distance growing.
                u, v = r - a, h - b
                d = (1 - u) * ((1 - v) * table[a, b] + v * table[a, b + 1]) + u * (
                    (1 - v) * table[a + 1, b] + v * table[a + 1, b + 1]
                )
                beyond = max(d - highest, lowest - d)
                if beyond > 0.0:
                    z += max(STEP_NM, 0.97 * beyond)
                else:
                    s = (d - lowest) / spacing
                    k = min(int(s), profile.shape[0] - 2)
                    total += STEP_NM * (profile[k] + (s - k) * (profile[k + 1] - profile[k]))
                    z += STEP_NM
            image[i, j] += total


@njit(cache=True, nogil=True, fastmath=True)
def add_rod(image, pixel_nm, place, frame, length_nm, section, spacing, taper):
    """Add the projection of a straight rod with a given cross-section.

    The columns of `frame` are the two directions of the cross-section and the rod's axis. `section` (n, n), n odd, is
    the potential in V over the cross-section at `spacing` nm, 0 outside the inscribed circle. `taper` in [0, 1) is by
    how much of its width the rod narrows towards its ends; 0 cuts it square.
    """
    rows, columns = image.shape
    n = section.shape[0]
    middle = (n - 1) // 2
    radius = middle * spacing
    nz = frame[2, 2]
    flat, slope = max(1e-9, 1.0 - nz * nz), nz if abs(nz) > 1e-9 else 1e-9
    # The bounding rectangle of a cylinder, axis by axis.
    top, bottom = _span(place[0], 0.5 * length_nm * abs(frame[0, 2]) + radius, pixel_nm, rows)
    left, right = _span(place[1], 0.5 * length_nm * abs(frame[1, 2]) + radius, pixel_nm, columns)
    for i in range(top, bottom):
        y = i * pixel_nm - place[0]
        for j in range(left, right):
            x = j * pixel_nm - place[1]
            u0, v0 = y * frame[0, 0] + x * frame[1, 0], y * frame[0, 1] + x * frame[1, 1]
            w0 = y * frame[0, 2] + x * frame[1, 2]
            # Where the ray is inside the endless cylinder, then between its ends.
            b = u0 * frame[2, 0] + v0 * frame[2, 1]
            root = b * b - flat * (u0 * u0 + v0 * v0 - radius * radius)
            if root <= 0.0:
                continue
            low, high = (-b - math.sqrt(root)) / flat, (-b + math.sqrt(root)) / flat
            one, two = (-0.5 * length_nm - w0) / slope, (0.5 * length_nm - w0) / slope
            low, high = max(low, min(one, two)), min(high, max(one, two))
            if high <= low:
                continue
            steps = math.ceil((high - low) / (1.1 * STEP_NM))
            step = (high - low) / steps
            total = 0.0
            for k in range(steps):
                z = low + (k + 0.5) * step
                t2 = ((w0 + z * nz) * 2.0 / length_nm) ** 2
                narrow = spacing * max(0.1, 1.0 - taper * t2 * t2 * t2)
                a = int((u0 + z * frame[2, 0]) / narrow + middle + 0.5)
                c = int((v0 + z * frame[2, 1]) / narrow + middle + 0.5)
                if 0 <= a < n and 0 <= c < n:
                    total += section[a, c]
            image[i, j] += total * step
