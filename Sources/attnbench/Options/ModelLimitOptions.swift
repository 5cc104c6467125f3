import ArgumentParser
import AttentionBench

/// What a plan for a model may lose.
struct ModelLimitOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: "For a model: largest root of the sum of the layers' squared errors.")
  var maxTotalError: String?

  @Option(
    parsing: .unconditional,
    help: "For a model, with --sensitivity: largest predicted increase of its loss, in nats.")
  var maxLossIncrease: String?

  @Option(
    help: "For a model: what an error of each layer costs, as attnbench-model evaluate writes it.",
    transform: PathOption.parse)
  var sensitivity: String?

  /// The options given, as they were written.
  var given: [String] {
    [
      maxTotalError.map { "--max-total-error \($0)" },
      maxLossIncrease.map { "--max-loss-increase \($0)" },
      sensitivity.map { "--sensitivity \($0)" },
    ].compactMap { $0 }
  }

  /// The limit on the total error, as either option states it; nil for none.
  ///
  /// - Parameter hasSensitivities: whether errors are weighed by what they cost.
  /// - Throws: `PlanError` for what is no number, `UsageError` for two limits and for a limit in nats on
  ///   errors without a cost.
  func limit(hasSensitivities: Bool) throws -> Double? {
    func number(_ text: String, _ option: String) throws -> Double {
      guard let value = Double(text), value.isFinite, value >= 0 else {
        throw PlanError(
          argument: option, value: text, rule: "must be a finite number, 0 or more",
          fix: option == "--max-total-error" ? "write for example 0.3" : "write for example 0.01")
      }
      return value
    }
    switch (maxTotalError, maxLossIncrease) {
    case (nil, nil): return nil
    case (let error?, nil): return try number(error, "--max-total-error")
    case (nil, let loss?):
      guard hasSensitivities else {
        throw UsageError(
          "--max-loss-increase \(loss): what an error costs the model is in --sensitivity FILE; give it, "
            + "or a limit on the error with --max-total-error")
      }
      return try number(loss, "--max-loss-increase").squareRoot()
    case (let error?, let loss?):
      throw UsageError(
        "--max-total-error \(error): contradicts --max-loss-increase \(loss); give one of them")
    }
  }

  /// Refuses to save or to draw what is not there.
  ///
  /// - Throws: `UsageError`.
  static func check(save: String?, plot: String?, limit: Double?) throws(UsageError) {
    if let save, limit == nil {
      throw UsageError(
        "--save \(save): a plan is one point of the trade-off; say which with "
          + "--max-total-error E or, with --sensitivity, --max-loss-increase X")
    }
    if let plot, !plot.hasSuffix(".svg") {
      throw UsageError("--plot \(plot): the picture is written as .svg; name it so")
    }
  }
}
