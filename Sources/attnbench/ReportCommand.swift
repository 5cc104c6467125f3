import ArgumentParser
import AttentionBench
import TensorFiles

/// `attnbench report`: a sweep as one page.
struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Write the results of a sweep as one HTML page.",
    discussion: """
      The page has the choice, the curves, every cell with its reason, the machine and the command \
      line. It loads nothing from anywhere and suits phones, light and dark screens.
      Example: attnbench report out -o report.html
      """)

  @Argument(help: "The directory that a sweep wrote.")
  var directory: String

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: "The page (default: report.html beside the results).")
  var output: String?

  @Option(
    parsing: .unconditional,
    help: "Relative errors to choose under, as 1e-2,0.5 (default: 0.01,0.1,1).")
  var maxError: String?

  mutating func run() throws {
    let limits = try maxError.map { try Self.limits($0) } ?? ReportPage.defaultLimits
    let path = output ?? RunDirectory.Layout(directory).directory + "/report.html"
    let folder = try SweepFolder(reading: directory)
    for note in folder.notes { Terminal.say("note: \(note)") }
    let say = try Terminal.printer(beside: path)
    try OutputTransaction([OutputFile(path, ReportPage(folder, limits: limits).html)]).write()
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
