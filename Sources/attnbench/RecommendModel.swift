import Attention
import AttentionBench
import Foundation
import MachineTopology
import TensorFiles

/// `attnbench recommend` for all layers of a model at once.
extension RecommendCommand {
  /// Chooses for every head of every layer in the file.
  func choose(for model: ModelInputs, stop: StopFlag) throws {
    try refuseOptionsOfOneLayer(model)
    let sensitivity = modelLimit.sensitivity
    let limit = try modelLimit.limit(hasSensitivities: sensitivity != nil)
    let weights = try sensitivity.map {
      try LayerSensitivities(path: $0).values(of: model.layers.map(\.number), path: $0)
    }
    try ModelLimitOptions.check(save: save, plot: plot, limit: limit)
    let budget = try TimeSpan(parsing: budget ?? "5m", argument: "--budget")
    let topology = try MachineTopology.host()
    let placement = try threadOptions.placement(
      of: try threadOptions.count(on: topology), on: topology)
    let size = try n.map { try SizeText.parse($0, argument: "--n") }
    var stated: [StatedAttention] = []
    var layers: [ModelLayer] = []
    for (place, layer) in model.layers.enumerated() {
      let shape = try size.map { try layer.shape.first($0, of: layer.prefix) } ?? layer.shape
      let attention = try StatedAttention(
        maskOptions, model.metadata.attention(of: layer.prefix), on: shape, file: model.path)
      stated.append(attention)
      layers.append(
        ModelLayer(
          number: layer.number, name: layer.prefix,
          problem: try attention.problem(on: shape, elements: storageOptions.elements),
          sensitivity: weights?[place] ?? 1))
    }
    let question = ModelChoiceEngine.Question(
      layers: layers, placement: placement, series: { try series(for: $0) + exact(for: $0) },
      maximumTotalError: limit, errorRows: try rowsForErrors(), seed: seed)
    _ = try measureBLAS()
    let report = ModelReport(
      inputs: model.path, sensitivities: sensitivity, budget: budget, save: save,
      record: record, plot: plot, isJSON: json)
    ModelReport.header(
      model, layers, stated, placement, sensitivities: sensitivity, limit: limit, budget: budget
    ).forEach(Terminal.say)
    stated.first?.warn()

    let engine = ModelChoiceEngine(
      question, budget: budget.seconds, memoryBytes: try self.limits().memoryBytes,
      instruments: ModelChoiceEngine.Instruments(
        executor: { layer in
          try AttentionExecutor(
            placements: [placement],
            inputs: .tensors(ModelInputs.problem(model.path, layer.name)), seed: seed,
            topology: topology, bestEffort: threadOptions.bestEffortBind)
        }, clock: MonotonicClock()),
      stop: stop, emit: report.show)
    let (choice, measurement) = try engine.run()
    try report.write(
      ModelChoiceRecord(
        inputs: model.path, model: model.metadata.model,
        problems: zip(layers, stated).map { layer, stated in
          ModelChoiceRecord.Problem(
            layer: layer.number, problem: HeadPlan.Problem(layer.problem),
            attention: stated.description)
        }, sensitivities: sensitivity, threads: placement.threads, bind: "\(placement.binding)",
        isa: KernelTable.active.name, budget: budget.seconds, result: choice,
        measurement: measurement))
    if choice.wasInterrupted { throw CommandExit.interrupted }
    guard choice.wrong.isEmpty else {
      throw CommandFailure(
        "wrong output of \(choice.wrong.joined(separator: "; ")): attnbench verify looks closer")
    }
  }

  /// What others are held against, where the user named only these.
  private func exact(for problem: AttentionProblem) throws -> [[any AttentionStrategy]] {
    guard strategies != nil else { return [] }
    return try CommandRegistry.current.candidateSeries(for: problem).map {
      $0.filter(\.isExactInFloat32)
    }.filter { !$0.isEmpty }
  }

  /// Options of a choice for one layer mean nothing here.
  private func refuseOptionsOfOneLayer(_ model: ModelInputs) throws(UsageError) {
    let example = "\(model.path):\(model.layers.first?.prefix ?? "layer0")"
    let given = [
      maxError.map { "--max-error \($0)" }, maxMemory.map { "--max-memory \($0)" },
      maxTime.map { "--max-time \($0)" }, retrieval ? "--retrieval" : nil,
      cellTimeout.map { "--cell-timeout \($0)" },
    ].compactMap { $0 }
    if let option = given.first {
      throw UsageError(
        "\(option): is about one layer, as --inputs \(example); for all layers of \(model.path) the "
          + "limit is --max-total-error E, and --budget bounds the time")
    }
  }

  /// Options of a choice for a model mean nothing for one layer.
  func refuseOptionsOfAModel() throws(UsageError) {
    let given =
      modelLimit.given
      + [record.map { "--record \($0)" }, plot.map { "--plot \($0)" }].compactMap { $0 }
    if let option = given.first {
      throw UsageError(
        "\(option): is about all layers of a model, as --inputs FILE.safetensors with layer0.q, "
          + "layer0.k, layer0.v, layer1.q, ... and no prefix; for one problem the limit is --max-error"
      )
    }
  }
}
