import Attention
import Choosing
import Records

/// What was chosen for a model, as far as its file tells: what pictures and pages of it need.
struct DrawnModel {
  /// A point of the trade-off, as `ModelChoice.Point` has it.
  struct Point {
    let limit: Double
    let totalError: Double
    /// Of attention over all layers; nil where it is not known.
    let seconds: Double?
    let speedup: Double
    let pairsShare: Double

    var squaredError: Double { totalError * totalError }

    init(
      limit: Double, totalError: Double, seconds: Double?, speedup: Double, pairsShare: Double
    ) {
      self.limit = limit
      self.totalError = totalError
      self.seconds = seconds
      self.speedup = speedup
      self.pairsShare = pairsShare
    }

    init(_ point: ModelChoice.Point) {
      self.init(
        limit: point.limit, totalError: point.totalError, seconds: point.seconds,
        speedup: point.speedup, pairsShare: point.pairsShare)
    }
  }

  /// A query head.
  struct Head {
    /// With its parameters.
    let strategy: String
    /// The share of the baseline's pairs that are scored.
    let pairsShare: Double
    /// What it adds to the squared relative error of its layer; nil where only the layer's is known.
    let squaredError: Double?
  }

  /// A layer.
  struct Layer {
    let number: Int
    let heads: [Head]
    /// Relative L2 error of its output; nil where it was not measured.
    let relativeError: Double?
    /// Attention of the layer, timed where it was, predicted elsewhere; nil where neither is known.
    let seconds: Double?
    /// The baseline's.
    let baselineSeconds: Double?
  }

  /// The file of tensors and the model's name.
  let title: String
  /// What everything is compared with.
  let baseline: String
  /// Whether the square of the total error is a loss in nats.
  let hasSensitivities: Bool
  /// The trade-off; empty where the file holds one point only.
  let curve: [Point]
  /// What was chosen; nil for a trade-off without a limit.
  let chosen: Point?
  /// How many times as fast as the baseline the plan ran, in the same rounds; nil where it was not run.
  let timedSpeedup: Double?
  let layers: [Layer]

  /// The whole of a choice.
  init(_ choice: ModelChoice, title: String, hasSensitivities: Bool) {
    self.title = title
    self.hasSensitivities = hasSensitivities
    baseline = choice.baseline
    curve = choice.curve.map { Point($0) }
    chosen = choice.chosen.map { Point($0) }
    timedSpeedup = choice.timed.map { $0.baselineSeconds / max($0.seconds, 1e-12) }
    layers = choice.layers.map { layer in
      Layer(
        number: layer.number,
        heads: layer.heads.map {
          Head(
            strategy: $0.strategy, pairsShare: $0.pairsShare, squaredError: max(0, $0.squaredError))
        },
        relativeError: layer.isMeasured ? layer.relativeError : nil,
        seconds: layer.timedSeconds ?? layer.seconds,
        baselineSeconds: layer.timedBaselineSeconds ?? layer.baselineSeconds)
    }
  }

  /// What a plan holds. The shares of pairs are counted, at the lengths that it was measured at.
  ///
  /// - Throws: `ChoiceFileError` naming a head whose strategy is not known, `AttentionError` for a
  ///   problem that cannot be.
  init(_ plan: ModelPlan, path: String) throws {
    title = [path, plan.model, plan.inputs.map { "chosen on \($0)" }].compactMap { $0 }
      .joined(separator: ", ")
    let measured = plan.measured
    baseline = measured?.baseline ?? "flash"
    hasSensitivities = measured?.predictedLossIncrease != nil
    curve = []
    if let seconds = measured?.seconds, let other = measured?.baselineSeconds, seconds > 0 {
      timedSpeedup = other / seconds
    } else {
      timedSpeedup = nil
    }
    if let error = measured?.totalError, let timedSpeedup {
      chosen = Point(
        limit: plan.maximumTotalError ?? error, totalError: error,
        seconds: measured?.predictedSeconds ?? measured?.seconds, speedup: timedSpeedup,
        pairsShare: measured?.pairsShare ?? 1)
    } else {
      chosen = nil
    }
    var layers: [Layer] = []
    for layer in plan.layers.sorted(by: { $0.layer < $1.layer }) {
      let stated = layer.problem
      let shape = try AttentionShape(
        batch: stated.batch, heads: stated.heads, kvHeads: stated.kvHeads,
        queryLength: stated.queryLength, keyLength: stated.keyLength, headDim: stated.headDim,
        valueDim: stated.valueDim)
      let problem = try stated.attention(on: shape)
      let all = try StrategyRegistry.standard.strategy(baseline).work(for: problem, threads: 1)
        .pairs
      let mix = try plan.mix(ofLayer: layer.layer, path: path)
      var shares: [String: Double] = [:]
      for (text, strategy) in zip(layer.heads, mix.strategies) where shares[text] == nil {
        let pairs = try strategy.work(for: problem, threads: 1).pairs
        shares[text] = Double(pairs) / Double(max(all, 1))
      }
      layers.append(
        Layer(
          number: layer.layer,
          heads: layer.heads.map {
            Head(strategy: $0, pairsShare: shares[$0] ?? 1, squaredError: nil)
          }, relativeError: layer.relativeError, seconds: nil, baselineSeconds: nil))
    }
    self.layers = layers
  }

  /// What a point costs: nats where the weights are sensitivities.
  func loss(_ point: Point) -> Double {
    hasSensitivities ? point.squaredError : point.totalError
  }

  /// What the losses are called.
  var lossName: String {
    hasSensitivities ? "predicted increase of the loss, nats" : "total error"
  }

  /// How many heads run each strategy, the most frequent first.
  var strategies: [(name: String, count: Int)] {
    Self.counted(layers.flatMap(\.heads).map(\.strategy))
  }

  /// The same by family, `window` for all windows.
  var families: [(name: String, count: Int)] {
    Self.counted(layers.flatMap(\.heads).map { Self.family(of: $0.strategy) })
  }

  static func family(of strategy: String) -> String { String(strategy.prefix { $0 != "(" }) }

  private static func counted(_ names: [String]) -> [(name: String, count: Int)] {
    Dictionary(grouping: names) { $0 }.map { ($0.key, $0.value.count) }
      .sorted { (-$0.1, $0.0) < (-$1.1, $1.0) }
  }
}
