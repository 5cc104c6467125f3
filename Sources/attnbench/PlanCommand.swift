import ArgumentParser
import AttentionBench
import TensorFiles

/// `attnbench plan`: another choice for a model from what `recommend` measured.
struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Choose for a model again, from what recommend measured.",
    discussion: """
      Times and errors of all candidates are in the file, so that another limit, or other \
      sensitivities, take no other measurement. What is printed and saved is what recommend would; \
      the plan itself has not been run, its time is the sum of its strategies'.
      Example: attnbench recommend --inputs qkv.safetensors --sensitivity s.json --record choice.json
      Example: attnbench plan choice.json --max-loss-increase 0.02 --save plan.json
      """)

  @Argument(help: "What recommend --record wrote, or --json printed, for a model.")
  var choice: String

  @OptionGroup(title: "Model") var modelLimit: ModelLimitOptions

  @Option(
    help: "Write the plan, for attnbench run --plan.",
    transform: PathOption.parse)
  var save: String?

  @Option(
    help: "Draw the trade-off and a map of layers and heads: FILE.svg.",
    transform: PathOption.parse)
  var plot: String?

  @Flag(help: "Print JSON, the measurements with it.")
  var json = false

  mutating func run() throws {
    try Terminal.reserve(for: [("--save", save), ("--plot", plot)], isJSON: json)
    try OutputTransaction.check(
      [NamedOutput("--save", save), NamedOutput("--plot", plot)].compactMap { $0 },
      reading: [choice, modelLimit.sensitivity].compactMap { $0 })
    do {
      let old = try ModelChoiceRecord(path: choice)
      let limit = try modelLimit.limit(
        hasSensitivities: modelLimit.sensitivity != nil || old.sensitivities != nil)
      try ModelLimitOptions.check(save: save, plot: plot, limit: limit)
      let sensitivities = try modelLimit.sensitivity.map {
        (
          path: $0,
          values: try LayerSensitivities(path: $0).values(of: old.problems.map(\.layer), path: $0)
        )
      }
      let record = try old.choosingAgain(within: limit, sensitivities: sensitivities, path: choice)
      Terminal.say(
        "\(choice): measured on \(record.inputs), \(record.threads) threads (\(record.bind))")
      let report = ModelReport(
        inputs: record.inputs, sensitivities: record.sensitivities, budget: nil, save: save,
        record: nil, plot: plot, isJSON: json)
      try report.write(record)
    } catch let error as ModelFileError {
      throw CommandFailure("\(error)")
    }
  }
}
