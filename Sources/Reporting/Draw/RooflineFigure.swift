import Attention
import Choosing
import Measuring
import Records
import Statistics
import Units

extension Figure {
  /// Speed against operations a byte, both logarithmic, a point a cell, below the ceilings that
  /// were measured in the same run: the peak of each arithmetic, level, and rising the rates at which
  /// memory is read, and the caches where cells had their data there.
  ///
  /// A line joins a strategy's cells from size to size, and the sizes stand beside them where there is
  /// room: without them nobody could tell which point is which.
  ///
  /// Operations and bytes are those of the definition, so that the distance to the ceiling is what
  /// an implementation wastes. Only the highest thread count: each has ceilings of its own.
  ///
  /// Williams, Waterman and Patterson, CACM 52(4), 2009.
  static func roofline(_ rows: PlotRows, _ ceilings: [MachineCeiling]) -> Figure {
    let guides = ceilingGuides(rows.widestSeries, ceilings)
    return Figure(
      name: "roofline", title: "Speed below the machine's ceilings" + rows.widestScope,
      yLabel: "GFLOP/s",
      xLabel: "operations a byte that must move", xAxis: .intensity, yAxis: .gigaflops,
      curves: rows.pointCurves(mark: .joinedPoints, rooflinePoint), guides: guides,
      notes: (guides.isEmpty
        ? [] : ["measured in the same run: " + guides.map(\.label).joined(separator: ", ")])
        + [
          "a cell above the line of memory has its data in a cache",
          "a line joins a strategy's cells from the smallest n to the largest, which stand beside them",
        ] + rows.missingNotes())
  }

  private static func rooflinePoint(_ row: ResultRow) -> Point? {
    guard let rate = row.work.gflopPerSecond, rate > 0, let bytes = row.gigabytesPerSecond,
      bytes > 0
    else { return nil }
    var point = Point(n: row.n, value: rate)
    point.place = rate / bytes
    point.label = SizeText.short(row.n)
    return point
  }

  /// The peaks, as the rows were held against them, and the rates of reading up to the highest of
  /// them.
  private static func ceilingGuides(
    _ series: [PlotRows.Series], _ ceilings: [MachineCeiling]
  ) -> [Guide] {
    let rows = series.flatMap(\.measured)
    let bandwidth = rows.first.flatMap { ResultRow.bandwidth(of: $0.placement, ceilings) }
    let rates =
      (bandwidth.map { [("mem", $0)] } ?? [])
      + (rows.first.map { cacheRates(of: $0.placement, ceilings) } ?? [])
    let peaks = Arithmetic.allCases.compactMap { arithmetic in
      peak(of: rows.filter { $0.arithmetic == arithmetic }).map { (arithmetic, $0) }
    }
    // Below a ridge the rising line is the ceiling, beyond it the level one.
    let level = peaks.map { arithmetic, peak in
      Guide(
        power: 0, factor: peak,
        label: "\(SignificantDigits.three(peak)) GFLOP/s"
          + (arithmetic == .float32 ? "" : " in \(arithmetic.rawValue)"),
        extent: bandwidth.map { peak / $0...Double.infinity })
    }
    let rising = rates.map { name, rate in
      Guide(
        power: 1, factor: rate,
        label: "\(SignificantDigits.three(rate)) GB/s" + (name == "mem" ? "" : " from \(name)"),
        extent: peaks.map(\.1).max().map { 0...$0 / rate })
    }
    return level + rising
  }

  /// The rates of the caches in GB/s, each the highest at which a working set was read from it.
  private static func cacheRates(
    of placement: ResultRow.Placement, _ ceilings: [MachineCeiling]
  ) -> [(String, Double)] {
    let sets = ceilings.filter { $0.threads == placement.threads && $0.bind == placement.bind }
      .flatMap { $0.workingSets ?? [] }.filter { $0.level != "mem" }
    return Dictionary(grouping: sets, by: \.level).map { level, sets in
      (level, sets.map(\.gbPerSecond).max() ?? 0)
    }.sorted { $0.0 > $1.0 }
  }

  /// In 10^9 operations a second: what is 100% of the rows' percentages.
  private static func peak(of rows: [ResultRow]) -> Double? {
    let peaks = rows.compactMap { row -> Double? in
      guard let rate = row.work.gflopPerSecond, let percent = row.work.percentOfPeak, percent > 0
      else { return nil }
      return 100 * rate / percent
    }
    return SampleSummary(peaks)?.median
  }
}
