import Attention
import Foundation
import Measuring
import Records
import Statistics
import Units

/// The candidates for layers that share a problem, and what their runs take.
///
/// The families' series are too long to run whole on every layer. A few steps of every series, even
/// in cost, are looked at on one or two layers; the series that these are served best by are then
/// stepped through more finely on all layers. Which strategy it is plays no part.
final class ModelCandidates {
  /// One strategy on the group's problem.
  struct Entry {
    let cell: SweepCell
    let work: WorkEstimate
    var spec: String { cell.spec }
  }

  /// The places of the layers.
  let layers: [Int]
  let problem: AttentionProblem
  let baseline: Entry
  /// What is run on every layer beside the baseline.
  private(set) var chosen: [Entry] = []
  private let series: [[any AttentionStrategy]]
  private let placement: SweepPlacement
  private let memoryBytes: Int
  /// By series and step: counting the work of a pattern takes time.
  private var entries: [Int: [Int: Entry?]] = [:]
  /// Seconds of runs on all heads, by strategy.
  private var times: [String: [Double]] = [:]

  /// - Throws: `AttentionError` when no exact strategy serves the problem.
  init(
    _ problem: AttentionProblem, layers: [Int], series: [[any AttentionStrategy]],
    placement: SweepPlacement, memoryBytes: Int
  ) throws(AttentionError) {
    self.problem = problem
    self.layers = layers
    self.placement = placement
    self.memoryBytes = memoryBytes
    // What takes more than query, key and value is for a model that was trained with it.
    self.series = series.map { $0.filter { !$0.isExactInFloat32 } }
      .filter { !$0.isEmpty }
    let exact = series.joined().filter(\.isExactInFloat32).compactMap {
      Self.entry(for: $0, problem, placement, memoryBytes)
    }
    guard let baseline = exact.min(by: { $0.work.workspaceBytes < $1.work.workspaceBytes }) else {
      throw AttentionError(
        .invalidArgument, argument: "strategies", value: "none that is exact",
        advice: "errors and times are held against one that is exact and fits into memory")
    }
    self.baseline = baseline
  }

  private static func entry(
    for strategy: any AttentionStrategy, _ problem: AttentionProblem, _ placement: SweepPlacement,
    _ memoryBytes: Int
  ) -> Entry? {
    let cell = SweepCell(
      problem: problem, n: problem.shape.queryLength, strategy: strategy, placement: placement,
      curve: 0)
    guard case .success(let work) = cell.work,
      work.workspaceBytes < memoryBytes - cell.tensorBytes
    else { return nil }
    return Entry(cell: cell, work: work)
  }

  private func entry(_ series: Int, _ step: Int) -> Entry? {
    if let known = entries[series]?[step] { return known }
    let made = Self.entry(for: self.series[series][step], problem, placement, memoryBytes)
    entries[series, default: [:]][step] = .some(made)
    return made
  }

  /// The steps of a series whose counted work is nearest to shares of the baseline's.
  private func steps(_ series: Int, shares: [Double]) -> [Entry] {
    var found: [Entry] = []
    for share in shares {
      let target = share * Double(baseline.work.flops)
      var (low, high) = (0, self.series[series].count - 1)
      while low < high {
        let middle = (low + high) / 2
        guard let entry = entry(series, middle) else {
          high = middle
          continue
        }
        if Double(entry.work.flops) < target { low = middle + 1 } else { high = middle }
      }
      guard let entry = entry(series, low), !found.contains(where: { $0.spec == entry.spec }),
        Double(entry.work.flops) < 0.97 * Double(baseline.work.flops)
      else { continue }
      found.append(entry)
    }
    return found
  }

  /// A few steps of every series.
  ///
  /// - Parameter limit: the most work they may take together, in runs of the baseline.
  func pool(limit: Double) -> [Entry] {
    for shares in [[1 / 32, 1 / 12, 1 / 5, 1 / 2], [1 / 16, 1 / 4], [1 / 8]] as [[Double]] {
      let pool = series.indices.flatMap { steps($0, shares: shares) }
      if runs(of: pool) <= limit || shares.count == 1 { return pool }
    }
    return []
  }

  /// The work of some candidates, in runs of the baseline.
  func runs(of entries: [Entry]) -> Double {
    entries.reduce(0) { $0 + Double($1.work.flops) } / Double(max(baseline.work.flops, 1))
  }

  /// The least share of the baseline's work that is worth a candidate: below, overheads rule.
  private static let leastShare = 1.0 / 48
  /// Candidates of a layer, at most and at least.
  private static let counts = [18, 14, 10, 7, 5]
  /// A series that does not save this much more time is not worth its steps.
  private static let leastGain = 0.015

  /// Settles what is run on every layer.
  ///
  /// - Parameters:
  ///   - assign: the time that the pilots' heads take within several limits on their loss, when
  ///     only some strategies may be used.
  ///   - limit: the most work of a layer's candidates together, in runs of the baseline.
  func choose(limit: Double, assign: (Set<String>) -> [Double]) {
    let measured = series.indices.map { index in
      Set((entries[index] ?? [:]).values.compactMap { $0?.spec }.filter { times[$0] != nil })
    }
    // Strategies that a user names are a series each: all of them are wanted.
    if series.allSatisfy({ $0.count == 1 }) {
      chosen = series.indices.flatMap { steps($0, shares: [1]) }
      return
    }
    func cost(_ used: [Int]) -> Double {
      assign(used.reduce(into: []) { $0.formUnion(measured[$1]) }).reduce(0, +)
    }
    var used: [Int] = []
    var best = cost([])
    while used.count < 4 {
      let next = series.indices.filter { !used.contains($0) && !measured[$0].isEmpty }
        .map { (series: $0, cost: cost(used + [$0])) }.min { $0.cost < $1.cost }
      guard let next, next.cost < best * (1 - Self.leastGain) else { break }
      used.append(next.series)
      best = next.cost
    }
    for count in Self.counts {
      let each = max(3, count / max(used.count, 1))
      let shares = (0..<each).map { step in
        pow(Self.leastShare, 1 - (Double(step) + 0.5) / Double(each))
      }
      chosen = used.flatMap { steps($0, shares: shares) }
      if runs(of: chosen) <= limit { return }
    }
  }

  /// Keeps the seconds of runs of a strategy.
  func note(_ seconds: [Double], of spec: String) {
    times[spec, default: []] += seconds
  }

  /// The time of a run; nil where there was none.
  func time(of spec: String) -> MeasuredTime? {
    times[spec].flatMap { SampleSummary($0) }.map { MeasuredTime($0) }
  }

  /// The median of that, in seconds.
  func seconds(of spec: String) -> Double? { time(of: spec)?.seconds }

  /// Everything that was run, by its strategy with parameters.
  var measured: [String: Entry] {
    var known = Dictionary(
      entries.values.flatMap(\.values).compactMap { $0 }.map { ($0.spec, $0) },
      uniquingKeysWith: { first, _ in first })
    known[baseline.spec] = baseline
    return known.filter { times[$0.key] != nil }
  }

  /// The same with its times, the baseline first.
  var timed: [ModelMeasurement.Candidate] {
    let full = Double(max(baseline.work.pairs, 1))
    return measured.values.compactMap { entry in
      time(of: entry.spec).map { time in
        ModelMeasurement.Candidate(
          strategy: entry.spec, seconds: time.seconds, low: time.spread.lowerBound,
          high: time.spread.upperBound, pairsShare: Double(entry.work.pairs) / full)
      }
    }.sorted {
      ($0.strategy == baseline.spec ? 0 : 1, $0.strategy)
        < ($1.strategy == baseline.spec ? 0 : 1, $1.strategy)
    }
  }
}
