import Choosing
import Measuring
import Records
import Statistics
import Units

/// Sentences under a picture about cells that it does not show or that need care.
extension PlotRows {
  /// Why points are missing: `exact: 32k, 64k, 100k skipped (memory)`.
  func missingNotes(of isMeant: (Series) -> Bool = { _ in true }) -> [String] {
    notes { series in
      isMeant(series) ? series.missing.map { ($0, Self.outcome($0.status)) } : []
    }
  }

  /// Which points rest on less than was asked for.
  func careNotes(at isDrawn: (ResultRow) -> Bool = { _ in true }) -> [String] {
    notes { series in
      series.measured.filter { $0.status != .ok && isDrawn($0) }.map { row in
        (row, row.status == .noisy ? "noisy" : "with few samples")
      }
    }
  }

  /// What bars mean where too few samples were taken for a 95% interval; nothing when none were.
  var intervalNotes: [String] {
    let fewest = series.flatMap(\.measured).map(\.time.samples).filter { $0 > 0 }.min()
    guard let fewest else { return [] }
    let coverage = MedianInterval.rank(count: fewest).coverage
    guard coverage < 0.95 else { return [] }
    let percent = SignificantDigits.three(100 * coverage)
    return [
      "bars over fewer than 6 samples span all of them (\(fewest): \(percent)% sure, not 95%)"
    ]
  }

  private func notes(_ select: (Series) -> [(ResultRow, String)]) -> [String] {
    let lines = series.compactMap { series -> (series: Series, text: String)? in
      let cells = select(series)
      let outcomes = Set(cells.map(\.1)).sorted().map { outcome in
        let sizes = cells.filter { $0.1 == outcome }.map { SizeText.short($0.0.n) }
        return "\(sizes.joined(separator: ", ")) \(outcome)"
      }
      return outcomes.isEmpty ? nil : (series, outcomes.joined(separator: ", "))
    }
    // What is the same for every thread count and shape of a strategy is said once.
    var said: [String] = []
    for (one, text) in lines {
      let alike = lines.filter { $0.series.strategy == one.strategy && $0.text == text }
      let isGeneral = alike.count == series.filter { $0.strategy == one.strategy }.count
      let sentence = "\(isGeneral ? one.strategy : label(one)): \(text)"
      if !said.contains(sentence) { said.append(sentence) }
    }
    return said
  }

  private static func outcome(_ status: Status) -> String {
    switch status {
    case .skippedTime: "skipped (time)"
    case .skippedMemory: "skipped (memory)"
    case .timeout: "timed out"
    case .error: "failed"
    case .wrong: "wrong"
    case .interrupted: "interrupted"
    case .ok, .lowSamples, .noisy: "measured"
    }
  }
}
