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
    let limit = try totalLimit()
    let weights = try sensitivity.map {
      try LayerSensitivities(path: $0).values(of: model.layers.map(\.number), path: $0)
    }
    if save != nil, limit == nil {
      throw UsageError(
        "--save \(save ?? ""): a plan is one point of the trade-off; say which with "
          + "--max-total-error E or, with --sensitivity, --max-loss-increase X")
    }
    if let plot, !plot.hasSuffix(".svg") {
      throw UsageError("--plot \(plot): the picture is written as .svg; name it so")
    }
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
      model: model, layers: layers, stated: stated, placement: placement,
      sensitivities: sensitivity,
      limit: limit, budget: budget, save: save, plot: plot, isJSON: json)
    report.header.forEach(Terminal.say)
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
    let choice = try engine.run()
    let plan = ModelPlan(
      choice, of: layers, hasSensitivities: weights != nil,
      inputs: model.path, model: model.metadata.model, placement: placement,
      isa: KernelTable.active.name)
    let picture = ModelChoicePicture(
      choice, title: [model.path, model.metadata.model].compactMap { $0 }.joined(separator: ": "),
      hasSensitivities: weights != nil)
    try OutputTransaction(
      [
        try save.map { try plan.output(to: $0) }, plot.map { OutputFile($0, picture.svg) },
      ].compactMap { $0 }
    ).write()
    try report.show(choice)
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

  /// The limit on the total error, as either option states it; nil for none.
  private func totalLimit() throws -> Double? {
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
      guard sensitivity != nil else {
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
    let given = [
      maxTotalError.map { "--max-total-error \($0)" },
      maxLossIncrease.map { "--max-loss-increase \($0)" },
      sensitivity.map { "--sensitivity \($0)" },
      plot.map { "--plot \($0)" },
    ].compactMap { $0 }
    if let option = given.first {
      throw UsageError(
        "\(option): is about all layers of a model, as --inputs FILE.safetensors with layer0.q, "
          + "layer0.k, layer0.v, layer1.q, ... and no prefix; for one problem the limit is --max-error"
      )
    }
  }
}
