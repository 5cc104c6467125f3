import Choosing
import Measuring
import Records
import Statistics
import Units

extension Figure {
  /// The share of needles found against their distance, with its 95% interval.
  ///
  /// A curve for each strategy, and two where needles lie on both sides. Nil when nothing was
  /// looked for.
  public static func retrieval(_ results: [RetrievalResult], of task: RetrievalTask) -> Figure? {
    let sides = RetrievalTask.Side.allCases.filter { side in
      task.bins.contains { $0.side == side }
    }
    let ordered = results.sorted {
      ClassHeading($0.operatorClass.rawValue).order < ClassHeading($1.operatorClass.rawValue).order
    }
    let curves = ordered.enumerated().flatMap { place, result in
      sides.enumerated().map { variant, side in
        Curve(
          label: sides.count > 1 ? "\(result.strategy), \(side.rawValue)" : result.strategy,
          group: ClassHeading(result.operatorClass.rawValue).text,
          style: CurveStyle(strategy: place, variant: variant),
          points: zip(task.bins, result.counts).compactMap { bin, count in
            guard bin.side == side, count.needles > 0 else { return nil }
            return Point(
              n: bin.distances.lowerBound, value: 100 * count.share,
              low: 100 * count.interval.lower, high: 100 * count.interval.upper)
          })
      }
    }.filter { !$0.points.isEmpty }
    guard !curves.isEmpty else { return nil }
    let isOctaves = task.bins.contains { $0.distances.count > 1 }
    let most = results.flatMap(\.counts).map(\.needles).max() ?? 0
    return Figure(
      name: "retrieval", title: "Needles found against their distance",
      subtitle: task.problem.summary, yLabel: "needles found (95% interval)",
      xLabel: isOctaves
        ? "distance from the query, D to 2D - 1 positions" : "distance from the query, positions",
      yAxis: .percent, curves: curves,
      notes: [
        "\(most) needles a point",
        "full attention puts \(SignificantDigits.three(RetrievalTask.fullMass)) of its mass on the "
          + "needle",
        "guessing finds \(SignificantDigits.three(100 * task.chance))%",
      ])
  }
}
