import Choosing
import Measuring
import Records
import Statistics
import Units

extension Figure {
  /// Percent of the rate at which the data can be read where they lie, measured in the same run: what
  /// bounds decoding, where each key is read for a few operations only.
  static func bandwidth(_ rows: PlotRows, _ ceilings: [MachineCeiling]) -> Figure? {
    var levels: Set<String> = []
    let curves = rows.series.map { series in
      Curve(
        label: rows.label(series), group: ClassHeading(series.classification).text,
        style: rows.style(series),
        points: series.measured.compactMap { row in
          guard let reading = row.reading(ceilings: ceilings), let median = row.time.median
          else { return nil }
          levels.insert(reading.level)
          let percent = 100 * reading.share
          return Point(
            n: row.n, value: percent, low: row.time.intervalUpper.map { percent * median / $0 },
            high: row.time.intervalLower.map { percent * median / $0 })
        })
    }
    let drawn = curves.filter { !$0.points.isEmpty }
    let measured = rows.series.flatMap(\.measured)
    let left = measured.count { $0.readShare(ceilings: ceilings) == nil }
    var notes = ["every key and value that must be read counts once"]
    if !levels.subtracting(["mem"]).isEmpty {
      notes.append(
        "each cell beside the rate of the level that its data fit: "
          + levels.sorted().joined(separator: ", "))
    }
    if left > 0 {
      notes.append(
        "\(left) of \(measured.count) cells left out: the rate of the cache that held their data was "
          + "not measured")
    }
    return Figure(
      name: "efficiency", title: "Share of the machine's read bandwidth",
      yLabel: "percent of the read bandwidth of the same run", yAxis: .percent, curves: drawn,
      notes: notes + rows.missingNotes() + rows.careNotes() + rows.intervalNotes)
  }

  /// Percent of the peak of the cell's arithmetic that was measured in the same run, with the peak as
  /// the top.
  static func efficiency(_ rows: PlotRows) -> Figure? {
    let curves = rows.series.map { series in
      Curve(
        label: rows.label(series), group: ClassHeading(series.classification).text,
        style: rows.style(series),
        points: series.measured.compactMap { row in
          guard let percent = row.work.percentOfPeak, let median = row.time.median, median > 0
          else { return nil }
          return Point(
            n: row.n, value: percent, low: row.time.intervalUpper.map { percent * median / $0 },
            high: row.time.intervalLower.map { percent * median / $0 })
        })
    }
    let arithmetics = Set(rows.series.flatMap(\.measured).map(\.arithmetic))
    let peak: String
    var notes = ["useful work only: masked-out pairs do not count"]
    let others = arithmetics.filter { $0 != .float32 }.map(\.rawValue).sorted()
    let names = others.joined(separator: ", ")
    if others.isEmpty {
      peak = "the FMA peak"
    } else if arithmetics.count == 1 {
      peak = "the peak of \(names) products"
    } else {
      peak = "the peak"
      notes.append("the peak: that of a strategy's arithmetic (\(names)), else the FMA peak")
    }
    return Figure(
      name: "efficiency", title: "Share of the machine's peak",
      yLabel: "percent of \(peak) of the same run", yAxis: .percent,
      curves: curves.filter { !$0.points.isEmpty },
      notes: notes + rows.missingNotes() + rows.careNotes() + rows.intervalNotes)
  }
}
