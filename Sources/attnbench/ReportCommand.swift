import ArgumentParser
import AttentionBench
import Foundation
import TensorFiles

/// `attnbench report`: a sweep, or what was chosen for a model, as one page.
struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Write the results of a sweep, or what was chosen for a model, as one HTML page.",
    discussion: """
      The page of a sweep has the choice, the curves, every cell with its reason, the machine and the \
      command line. That of a model has the loss against the speed-up, maps of layers and heads, and \
      every layer. It loads nothing from anywhere and suits phones, light and dark screens.
      Example: attnbench report out -o report.html
      Example: attnbench report choice.json --evaluation other.json -o model.html
      """)

  @Argument(
    help: ArgumentHelp(
      """
      The directory that a sweep wrote; or, for a model, what recommend --record wrote or a plan of \
      recommend --save.
      """, valueName: "directory or file"))
  var source: String

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: "The page (default: report.html beside the results, or FILE.html).",
    transform: PathOption.parse)
  var output: String?

  @Option(
    parsing: .unconditional,
    help: "Relative errors to choose under, as 1e-2,0.5 (default: 0.01,0.1,1).")
  var maxError: String?

  @Option(
    help: """
      For a model: the plan's loss on a text, as attnbench-model evaluate --json prints it; may be \
      given again.
      """,
    transform: PathOption.parse)
  var evaluation: [String] = []

  mutating func run() throws {
    let limits = try maxError.map { try Self.limits($0) } ?? ReportPage.defaultLimits
    var isDirectory: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: source, isDirectory: &isDirectory)
    if exists, !isDirectory.boolValue { return try writeModel() }
    if let first = evaluation.first {
      throw UsageError(
        "--evaluation \(first): is about a model's plan; \(source) is a sweep, which has no loss")
    }
    let layout = RunDirectory.Layout(source)
    let path = output ?? layout.directory + "/report.html"
    // Of a directory that is not there its absence is to be told.
    if exists || output != nil { try OutputTransaction.check([path], reading: layout.records) }
    let folder = try SweepFolder(reading: source)
    for note in folder.notes { Terminal.say("note: \(note)") }
    try write(ReportPage(folder, limits: limits).html, to: path)
  }

  private func writeModel() throws {
    if let maxError {
      throw UsageError(
        "--max-error \(maxError): chooses among the cells of a sweep; \(source) is a file, in which the "
          + "choice is made")
    }
    let ending = ".json"
    let stem = source.hasSuffix(ending) ? String(source.dropLast(ending.count)) : source
    let path = output ?? stem + ".html"
    try OutputTransaction.check([path], reading: [source] + evaluation)
    do {
      let page = try ModelPage(
        ModelFile(path: source), path: source,
        evaluations: evaluation.map { try ModelEvaluation(path: $0) })
      try write(page.html, to: path)
    } catch let error as ModelFileError {
      throw CommandFailure("\(error)")
    }
  }

  private func write(_ page: String, to path: String) throws {
    let say = try Terminal.printer(beside: path)
    try OutputTransaction([OutputFile(path, page)]).write()
    try say(path)
  }

  private static func limits(_ text: String) throws(UsageError) -> [Double] {
    var limits: [Double] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let limit = Double(part.filter { !$0.isWhitespace }), limit.isFinite, limit > 0 else {
        throw UsageError(
          "--max-error \(text): '\(part)' is no error above 0; write for example 1e-2,0.1")
      }
      limits.append(limit)
    }
    return Set(limits).sorted()
  }
}
