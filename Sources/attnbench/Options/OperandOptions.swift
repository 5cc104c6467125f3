import ArgumentParser
import Attention
import AttentionBench
import TensorFiles

/// Operands with an option of their own, by the names that strategies have for them.
enum NamedOperand: String, CaseIterable, Sendable {
  case decay
  case beta
  case erase
  case write
  case gate
  case indexQ = "index_q"
  case indexK = "index_k"
  case indexW = "index_w"
  case state

  /// The option without its dashes.
  private var word: String {
    self == .state ? "past-state" : rawValue.replacing("_", with: "-")
  }

  /// The option: `--index-q`.
  var option: String { "--\(word)" }

  /// The same for the argument parser.
  var name: NameSpecification { .customLong(word) }

  /// What the option of an operand is for.
  var help: ArgumentHelp {
    switch self {
    case .decay: "The operand decay: FILE.npy or FILE.safetensors:KEY."
    case .state: "The operand state, likewise: the state of a recurrence to begin with."
    default: "The operand \(rawValue), likewise."
    }
  }

  /// Reads the option's value; for the `transform` of an option.
  ///
  /// - Throws: as `PathOption.parse`.
  @Sendable func read(_ text: String) throws -> OperandFile {
    let path = try PathOption.parse(text)
    return OperandFile(name: rawValue, path: path, description: "\(option) \(path)")
  }
}

/// A file with an operand that a strategy takes beyond q, k and v.
struct OperandFile: Sendable, CustomStringConvertible {
  /// The operand's name.
  let name: String
  /// `FILE.npy` or `FILE.safetensors:KEY`.
  let path: String
  /// As typed: `--beta b.npy`, `--operand beta=b.npy`.
  let description: String

  /// Reads the value of `--operand`; for its `transform`.
  ///
  /// - Throws: where it is no name and file, in words.
  @Sendable static func parse(_ text: String) throws -> OperandFile {
    let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
    guard parts.count == 2 else { throw NoNameAndFile() }
    return OperandFile(name: parts[0], path: parts[1], description: "--operand \(text)")
  }

  /// The tensor, named as it was typed.
  ///
  /// - Throws: `TensorFileError`.
  func source() throws -> FileProblem.Source { try InputFiles.source(path, name: description) }

  private struct NoNameAndFile: Error, CustomStringConvertible {
    let description =
      "must be NAME=FILE.npy or NAME=FILE.safetensors:KEY, as in decay=decay.npy"
  }
}

/// Files with what a strategy takes beyond q, k and v.
struct OperandOptions: ParsableArguments {
  @Option(
    name: .customLong("operand"),
    help: ArgumentHelp(
      "What the strategy takes beyond q, k and v, once each: decay=FILE.npy or "
        + "decay=FILE.safetensors:KEY, with the axes that attnbench list shows, whatever --layout.",
      valueName: "name=file"),
    transform: OperandFile.parse)
  var others: [OperandFile] = []

  @Option(
    name: NamedOperand.decay.name, help: NamedOperand.decay.help,
    transform: NamedOperand.decay.read)
  var decay: OperandFile?

  @Option(
    name: NamedOperand.beta.name, help: NamedOperand.beta.help, transform: NamedOperand.beta.read)
  var beta: OperandFile?

  @Option(
    name: NamedOperand.erase.name, help: NamedOperand.erase.help,
    transform: NamedOperand.erase.read)
  var erase: OperandFile?

  @Option(
    name: NamedOperand.write.name, help: NamedOperand.write.help,
    transform: NamedOperand.write.read)
  var write: OperandFile?

  @Option(
    name: NamedOperand.gate.name, help: NamedOperand.gate.help, transform: NamedOperand.gate.read)
  var gate: OperandFile?

  @Option(
    name: NamedOperand.indexQ.name, help: NamedOperand.indexQ.help,
    transform: NamedOperand.indexQ.read)
  var indexQ: OperandFile?

  @Option(
    name: NamedOperand.indexK.name, help: NamedOperand.indexK.help,
    transform: NamedOperand.indexK.read)
  var indexK: OperandFile?

  @Option(
    name: NamedOperand.indexW.name, help: NamedOperand.indexW.help,
    transform: NamedOperand.indexW.read)
  var indexW: OperandFile?

  @Option(
    name: NamedOperand.state.name, help: NamedOperand.state.help,
    transform: NamedOperand.state.read)
  var pastState: OperandFile?

  /// All that were given.
  var files: [OperandFile] {
    others
      + [decay, beta, erase, write, gate, indexQ, indexK, indexW, pastState].compactMap { $0 }
  }

  /// Refuses files that the strategy does not take and operands given twice, and says what is missing.
  ///
  /// - Parameter held: what the file of `--inputs` has, each with the words that name it.
  /// - Throws: `UsageError` naming what was typed, or what is to be.
  func check(
    for choice: RunChoice, beside held: [(name: String, source: FileProblem.Source)]
  ) throws(UsageError) {
    let declared = choice.operands
    var givers: [String: String] = [:]
    for (name, source) in held { givers[name] = source.name }
    for file in files {
      guard declared.contains(where: { $0.name == file.name }) else {
        throw UsageError("\(file): \(choice.refusal(of: file.name))")
      }
      if let other = givers.updateValue(file.description, forKey: file.name) {
        throw UsageError(
          "\(file): the operand \(file.name) is given by \(other), too; leave one of them out")
      }
    }
    guard let missing = declared.first(where: { !$0.isOptional && givers[$0.name] == nil }) else {
      return
    }
    let name = missing.name
    let option = NamedOperand(rawValue: name).map { "\($0.option) " } ?? "--operand \(name)="
    throw UsageError(
      "\(choice.name) needs the operand \(name), \(missing.letters) (\(missing.meaning)): give "
        + "\(option)FILE, or save it as \(name) beside q, k and v of --inputs")
  }
}
